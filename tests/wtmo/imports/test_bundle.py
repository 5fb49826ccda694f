"""What Airflow sees: versions, files, the link to the commit, and the same files when the source is away."""

from __future__ import annotations

import configparser
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.bundles.base import unpack_bundle_version
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.providers.git.bundles.git import GitDagBundle

from tests.wtmo.imports.conftest import START, dag
from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.imports.bundle import ImportedDagBundle
from wtmo.imports.run import Tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.wtmo.imports.conftest import Repository, Work


@pytest.fixture
def make(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: Tools
) -> Callable[..., ImportedDagBundle]:
    """Bundles with fake tools; ``host`` tells machines apart."""

    class Bundle(ImportedDagBundle):
        pass

    Bundle.tools = tools

    def make(version: str | None = None, *, host: str = "a", **kwargs: object) -> ImportedDagBundle:
        monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / host))
        given = {"repo_url": str(repository.path), "tracking_ref": "main", "max_held": 1.0}
        return Bundle(name="bigquery-etl", version=version, **given | kwargs)

    return make


def version_of(bundle: ImportedDagBundle) -> str:
    version, _ = unpack_bundle_version(bundle.get_current_version(), bundle)
    assert version is not None
    return version


def files(bundle: ImportedDagBundle) -> dict[str, str]:
    return {path.name: path.read_text() for path in bundle.path.rglob("*.py")}


def new(name: str, *more: str) -> str:
    return dag(name, *more).replace("schedule_interval", "schedule")


def test_airflow_polls_and_sees_another_version(repository: Repository, make: Callable[..., ImportedDagBundle]) -> None:
    first_commit = repository.commit({"a.py": dag("a")})
    bundle = make()
    bundle.initialize()
    first, path = version_of(bundle), bundle.path
    assert bundle.is_initialized
    assert first.startswith(f"{first_commit}-")
    assert files(bundle) == {"a.py": new("a")}
    second_commit = repository.commit({"a.py": dag("a", "# more\n"), "b.py": dag("b", "RAISES")})
    assert version_of(bundle) == first, "nothing moves between two refreshes"
    bundle.refresh()
    assert version_of(bundle).startswith(f"{second_commit}-")
    assert files(bundle) == {"a.py": new("a", "# more\n")}
    assert (path / "a.py").read_text() == new("a"), "a process that parses the old files goes on"


def test_a_run_has_exactly_its_version(repository: Repository, make: Callable[..., ImportedDagBundle]) -> None:
    repository.commit({"a.py": dag("a")})
    tracking = make()
    tracking.initialize()
    pinned = version_of(tracking)
    repository.commit({"a.py": dag("a", "# more\n")})
    tracking.refresh()
    for host in ("a", "another"):
        worker = make(pinned, host=host)
        worker.initialize()
        assert version_of(worker) == pinned
        assert worker.path == worker.versions_dir / pinned / "dags", "where Airflow's own clean-up looks"
        assert files(worker) == {"a.py": new("a")}
        with pytest.raises(Exception, match="Refreshing a specific version"):
            worker.refresh()


def test_a_version_that_can_not_be_made_is_an_error(
    repository: Repository, make: Callable[..., ImportedDagBundle]
) -> None:
    commit = repository.commit({"a.py": dag("a")})
    with pytest.raises(WtmoError, match="cannot be made anew here"):
        make(f"{commit}-0123456789abcdef").initialize()


@pytest.mark.parametrize("trouble", ["away", "too many", "broken"])
def test_in_trouble_what_is_there_is_served(
    repository: Repository,
    make: Callable[..., ImportedDagBundle],
    trouble: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository.commit({"a.py": dag("a")})
    bundle = make()
    bundle.initialize()
    before = version_of(bundle)
    repository.commit({"a.py": dag("a", "RAISES")})
    bundle = make(max_held=0.1 if trouble == "too many" else 1.0)
    if trouble == "away":
        shutil.rmtree(repository.path)
    if trouble == "broken":
        monkeypatch.setattr(type(bundle), "tools", Tools(fingerprint=lambda: str(1 / 0), now=lambda: float(START)))
    bundle.initialize()
    bundle.refresh()
    assert version_of(bundle) == before
    assert files(bundle) == {"a.py": new("a")}
    said = capsys.readouterr()
    assert "what was imported before is served" in said.out + said.err


@pytest.mark.parametrize("trouble", ["away", "too many"])
def test_the_first_import_must_succeed(
    repository: Repository, make: Callable[..., ImportedDagBundle], trouble: str
) -> None:
    """Else an empty folder would make Airflow forget every DAG."""
    repository.commit({"a.py": dag("a", "RAISES"), "b.py": dag("b")})
    bundle = make(max_held=0.1)
    if trouble == "away":
        shutil.rmtree(repository.path)
    with pytest.raises(WtmoError):
        bundle.initialize()
    assert not bundle.is_initialized
    with pytest.raises(Exception, match="imported nothing yet"):
        bundle.get_current_version()


@pytest.mark.parametrize(
    ("url", "template", "link"),
    [
        ("https://github.com/o/r", None, "https://github.com/o/r/tree/{commit}/dags"),
        ("git@github.com:o/r.git", None, "https://github.com/o/r/tree/{commit}/dags"),
        ("https://example.com/o/r", "https://example.com/see?at={version}", "https://example.com/see?at={commit}"),
        ("https://example.com/o/r", None, None),
    ],
)
def test_the_link_is_to_the_commit(
    make: Callable[..., ImportedDagBundle], url: str, template: str | None, link: str | None
) -> None:
    from airflow.models.dagbundle import DagBundleModel

    commit = "0123456789" * 4
    bundle = make(repo_url=url, view_url_template=template)
    given = bundle.view_url_template()
    expected = link.format(commit=commit) if link else None
    model = DagBundleModel(name=bundle.name)
    model.template_params = DagBundlesManager._extract_template_params(bundle)
    if given is not None:
        model._unsign_url = lambda: given
        model.signed_url_template = "signed"
        assert model.render_url(None) is not None, "a run without a version breaks no page"
    assert model.render_url(f"{commit}-0123456789abcdef") == expected


def test_a_connection_gives_url_and_credentials_to_git_alone(
    repository: Repository,
    make: Callable[..., ImportedDagBundle],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    work: Work,
) -> None:
    """By ssh: git is given the connection's command, and runs it here against the local repository."""
    repository.commit({"a.py": dag("a")})
    seen = tmp_path / "seen"
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {seen}\neval "exec git-upload-pack {repository.path}"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{environment()['PATH']}")
    monkeypatch.setenv(
        "AIRFLOW_CONN_GIT_PRIVATE",
        '{"conn_type": "git", "host": "git@example.com:o/r.git", "extra": {"private_key": "KEY", '
        '"strict_host_key_checking": "yes"}}',
    )
    during: list[str] = []

    bundle = make(repo_url=None, git_conn_id="git_private")
    translate = bundle.tools.translate
    monkeypatch.setattr(
        type(bundle),
        "tools",
        Tools(
            loader=bundle.tools.loader,
            translate=lambda sources: (during.append(str(environment())), translate(sources))[1],
            dags=bundle.tools.dags,
            fingerprint=bundle.tools.fingerprint,
            now=bundle.tools.now,
        ),
    )
    bundle.initialize()
    assert files(bundle) == {"a.py": new("a")}
    assert "StrictHostKeyChecking=yes" in seen.read_text()
    assert during
    assert "GIT_SSH_COMMAND" not in during[0], "no credential is there while files are worked on"


def test_a_token_reaches_git_and_nothing_else(
    make: Callable[..., ImportedDagBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wtmo.imports import source as source_module

    monkeypatch.setenv(
        "AIRFLOW_CONN_GIT_TOKEN", '{"conn_type": "git", "host": "https://example.com/o/r", "password": "tok-123"}'
    )
    asked: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> object:
        asked.append((command, env))
        return source_module.subprocess.CompletedProcess(command, 0 if "init" in command else 128, b"", b"fatal: no")

    monkeypatch.setattr(source_module.subprocess, "run", run)
    with pytest.raises(WtmoError, match=r"cannot fetch main of https://example.com/o/r: fatal: no"):
        make(repo_url=None, git_conn_id="git_token").initialize()
    [(command, env)] = [(command, env) for command, env in asked if "fetch" in command]
    assert "tok-123" not in " ".join(command)
    assert env["AIRFLOW_GIT_TOKEN"] == "tok-123"
    assert "AIRFLOW_GIT_TOKEN" not in environment()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("https://github.com/mozilla/bigquery-etl", "generated-dags", None)),
        ({"URL": "https://example.com/o/r", "REF": "main"}, ("https://example.com/o/r", "main", None)),
        ({"CONN_ID": "git_private"}, ("git@example.com:o/r.git", "generated-dags", "git_private")),
        (
            {"CONN_ID": "git_private", "URL": "git@example.com:o/s"},
            ("git@example.com:o/s", "generated-dags", "git_private"),
        ),
    ],
)
def test_airflow_makes_it_from_the_shared_configuration_and_the_settings(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: dict[str, str],
    expected: tuple[str, str, str | None],
) -> None:
    shared = configparser.ConfigParser(interpolation=None)
    shared.read(ROOT / "config" / "airflow.cfg")
    bundles = shared["dag_processor"]["dag_bundle_config_list"]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", bundles)
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    monkeypatch.setenv(
        "AIRFLOW_CONN_GIT_PRIVATE",
        '{"conn_type": "git", "host": "git@example.com:o/r.git", "extra": {"strict_host_key_checking": "yes"}}',
    )
    for name in ("URL", "REF", "CONN_ID"):
        monkeypatch.setenv(f"WTMO_IMPORT_{name}", settings.get(name, ""))
    bundle = DagBundlesManager().get_bundle("bigquery-etl", "v")
    assert isinstance(bundle, ImportedDagBundle)
    assert (bundle.repo_url, bundle.tracking_ref, bundle.git_conn_id) == expected
    assert (bundle.version, bundle.refresh_interval, bundle.supports_versioning) == ("v", 60, True)
    assert bundle.store.root == tmp_path / "bundles" / "bigquery-etl"


def test_a_public_repository_needs_no_connection(
    make: Callable[..., ImportedDagBundle], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitDagBundle asks for git_default, and logs a traceback each time it is made."""
    from airflow.providers.git.hooks.git import GitHook

    with monkeypatch.context() as patch:
        patch.setattr(GitHook, "get_connection", lambda *_: pytest.fail("a connection was looked for"))
        bundle = make(repo_url="https://github.com/o/r")
    said = capsys.readouterr()
    assert "git_default" not in said.out + said.err
    assert bundle.hook is None
    with_connection = set(vars(GitDagBundle(name="a", tracking_ref="main", repo_url="https://github.com/o/r")))
    assert "bigquery-etl" in repr(bundle), "Python 3.11 asks for it when the dag-processor sets a signal's handler"
    used = {"tracking_ref", "subdir", "repo_url", "git_conn_id", "hook", "submodules"}
    assert used <= with_connection, "the provider names these otherwise now: see ImportedDagBundle.__init__"
