"""What ``make new-dag`` writes passes every check as it stands; what it cannot write, it refuses with advice."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from tests import test_layout
from tests.dags import test_declared, test_integrity
from tests.described import described
from utils.policy import check_dag
from wtmo import new_dag
from wtmo.cli import app
from wtmo.docs.catalogue import LAYERS, catalogue
from wtmo.errors import WtmoError
from wtmo.graph.loading import load_dags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import DAG

ROOT = Path(__file__).resolve().parents[2]
TODAY = dt.date(2026, 6, 1)
GIVEN = {"name": "brand_new", "layer": "etl", "team": "ads", "tier": "3"}
LONG = "a_name_that_is_quite_as_long_as_the_name_of_a_dag_is_allowed"


def ordered(**given: str) -> new_dag.Order:
    return new_dag.order(GIVEN | given, today=TODAY)


def written(root: Path, dags: dict[str, DAG], **given: str) -> dict[str, DAG]:
    """The DAGs of the file that is written."""
    new_dag.create(ordered(**given), dags, root)
    return load_dags(root / "dags")


def test_the_folders_of_the_layers_are_known() -> None:
    assert {path.name for path in (ROOT / "dags").iterdir() if path.is_dir() and path.name != "__pycache__"} <= set(
        LAYERS
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, dags: dict[str, DAG]) -> Path:
    """A repository with a new DAG of every kind: as few values as possible given, and as many, and very long names."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copy(ROOT / "pyproject.toml", root)
    every: dict[str, dict[str, str]] = {
        "pod": {"image": "extensions", "schedule": "none", "start": "2026-02-03"},
        "sensors": {"image": "jetstream", "waits_for": "copy_deduplicate.event_events", "schedule": "30 1 * * 1"},
        "query": {"table": "some_derived.some_value_v12"},
        "family": {"members": "a, b,c", "image": "kpi-forecasting"},
        "manual": {"image": "merino-py"},
        "dataproc": {"schedule": "@weekly"},
    }
    assert every.keys() == new_dag.KINDS.keys()
    for kind, more in every.items():
        schedule = {} if kind == "manual" else {"schedule": "0 5 * * *"}
        new_dag.create(ordered(name=f"least_{kind}", kind=kind, **schedule), dags, root)
        about = {"about": "Do 'it' — {{ ds }} {% raw %} {x} $(id) `id` #.", "layer": "reverse_etl", "tier": "1"}
        new_dag.create(ordered(name=f"most_{kind}", kind=kind, **more, **about), dags, root)
        name = f"{kind}_{LONG}"[: new_dag._LONGEST_NAME].rstrip("_")
        new_dag.create(ordered(name=name, kind=kind, team="enterprise-applications", **schedule), dags, root)
    return root


@pytest.fixture(scope="module")
def new(tree: Path) -> dict[str, DAG]:
    return load_dags(tree / "dags")


def test_every_kind_is_written(new: dict[str, DAG]) -> None:
    least = {f"least_{kind}" for kind in new_dag.KINDS} - {"least_family"}
    assert least | {"least_family_desktop", "least_family_android", "most_family_c"} <= set(new)
    assert len(new) == 3 * 5 + 2 * 2 + 3


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_ruff_finds_nothing(tree: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
        cwd=tree, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_layout_is_kept(tree: Path) -> None:
    sources = [
        test_layout.Source(path.relative_to(tree).as_posix(), path.read_text())
        for path in sorted((tree / "dags").rglob("*.py"))
    ]
    assert len(sources) == 3 * len(new_dag.KINDS)
    assert [problem for source in sources for rule in test_layout.RULES for problem in rule(source)] == []
    assert max(source.text.count("\n") for source in sources) < 80


def test_the_rules_hold(new: dict[str, DAG]) -> None:
    assert [problem for dag in new.values() for problem in check_dag(dag)] == []
    tasks = test_declared.tasks(new)
    assert [problem for _, task in tasks for rule in test_declared.RULES for problem in rule(task)] == []
    test_integrity.test_the_file_is_named_after_the_dag(new)


def test_it_can_be_stored(new: dict[str, DAG]) -> None:
    test_integrity.test_serialization_round_trip(new)


def test_sensors_wait_for_a_run_that_exists(new: dict[str, DAG], dags: dict[str, DAG]) -> None:
    found = test_integrity.sensors(new)
    assert len(found) == 3
    for dag, sensor in found:
        assert test_integrity.waits_in_vain(dag, sensor, dags) is None
    shifts = {dag.dag_id: sensor.execution_delta for dag, sensor in found}
    assert shifts["least_sensors"] == dt.timedelta(hours=4)
    assert shifts["most_sensors"] == dt.timedelta(minutes=30)


def test_the_catalogue_takes_it(new: dict[str, DAG], tree: Path) -> None:
    page = catalogue(described(new.values(), tree / "dags"))
    assert "### least_query" in page
    assert "Waits for: `copy_deduplicate` (`copy_deduplicate_all`, the run 4 h earlier)" in page


def test_what_was_given_is_what_is_written(new: dict[str, DAG]) -> None:
    pod: Any = new["most_pod"]
    assert (pod.schedule, pod.start_date.date(), pod.get_task("most_pod").arguments) == (
        None,
        dt.date(2026, 2, 3),
        ["python", "extensions/main.py", "--date", "{{ ds }}"],
    )
    assert pod.doc_md.startswith("Do 'it' — {{ ds }} {% raw %} {x} $(id) `id` #.\n")
    assert new["least_pod"].start_date.date() == TODAY
    query: Any = new["most_query"].get_task("some_derived__some_value__v12")
    assert "--destination_table=some_value_v12${{ds_nodash}}" in query.arguments
    assert query.downstream_task_ids == {"checks__fail_some_derived__some_value__v12"}
    family: Any = new["most_family_b"].get_task("most_family_b")
    assert family.arguments[-2:] == ["--product", "b"]
    assert new["most_dataproc"].schedule == "@weekly"


@pytest.mark.parametrize("name", ["least_manual", "most_manual"])
def test_its_own_test_passes(tree: Path, new: dict[str, DAG], name: str) -> None:
    spec: Any = importlib.util.spec_from_file_location(name, tree / "tests" / "dags" / f"test_{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_each_value_is_an_argument_of_its_own(new)
    values = module.test_a_hostile_value_is_refused.pytestmark[0].args[1]
    assert len(values) == 8
    for value in values:
        module.test_a_hostile_value_is_refused(new, *value)
    with pytest.raises(pytest.fail.Exception):
        module.test_a_hostile_value_is_refused(new, "table", "d.t")


# --- what is refused


@pytest.mark.parametrize(
    ("given", "says", "advice"),
    [
        ({"name": "Some Job"}, "cannot be the name", "NAME=some_job"),
        ({"name": "some-job"}, "cannot be the name", "NAME=some_job"),
        ({"name": "2fast"}, "cannot be the name", "NAME=job_2fast"),
        ({"name": "../../etc/passwd"}, "cannot be the name", "NAME=etc_passwd"),
        ({"name": "x" * 61}, "cannot be the name", f"NAME={'x' * 60}"),
        ({"name": "a\nb"}, "cannot be the name", "NAME=a_b"),
        ({"name": "bqetl_thing"}, "bigquery-etl generates", "NAME=thing"),
        ({"layer": "etll"}, "no layer 'etll'", "'etl'"),
        ({"layer": "../etl"}, "no layer", "etl"),
        ({"team": "someone"}, "no team 'someone'", "Known:"),
        ({"tier": "4"}, "no tier '4'", "'3'"),
        ({"kind": "spark"}, "no kind 'spark'", "dataproc"),
        ({"schedule": "daily"}, "not a schedule", "@daily"),
        ({"schedule": "61 * * * *"}, "not a schedule", "cron"),
        ({"schedule": "@fortnightly"}, "not a schedule", "@weekly"),
        ({"kind": "manual", "schedule": "@daily"}, "has no schedule", "SCHEDULE="),
        ({"image": "extension"}, "No image is named 'extension'. Did you mean 'extensions'", ""),
        ({"kind": "query", "table": "only_a_table"}, "is not dataset.table", "TABLE="),
        ({"kind": "query", "table": "a.b; DROP TABLE c"}, "is not dataset.table", "TABLE="),
        ({"kind": "family", "members": "one"}, "two members or more", "MEMBERS="),
        ({"kind": "family", "members": "one,one"}, "two members or more", "MEMBERS="),
        ({"kind": "family", "members": "one,Two!"}, "cannot be the name", "NAME=two"),
        ({"about": "No full stop"}, "first line of the page", "ABOUT="),
        ({"about": 'Says """ more.'}, "first line of the page", "ABOUT="),
        ({"about": "Two\nlines."}, "first line of the page", "ABOUT="),
        ({"about": "Back\\slash."}, "first line of the page", "ABOUT="),
        ({"about": f"{'Long ' * 30}."}, "first line of the page", "ABOUT="),
        ({"start": "tomorrow"}, "is not a date", "START="),
    ],
)
def test_what_cannot_be_is_refused_with_advice(given: dict[str, str], says: str, advice: str) -> None:
    with pytest.raises(WtmoError) as refused:
        ordered(**given)
    assert says in refused.value.what
    assert advice in (refused.value.fix or "")


@pytest.mark.parametrize(
    ("given", "says", "advice"),
    [
        ({"name": "copy_deduplicate"}, "taken by dags/etl/copy_deduplicate.py", "another NAME="),
        ({"name": "clean_gke_pods"}, "the name clean-gke-pods is taken", "another NAME="),
        ({"name": "eam_integrations"}, "taken by dags/reverse_etl/eam_integrations.py", "another NAME="),
        ({"name": "copy", "kind": "family", "members": "deduplicate,other"}, "taken by dags/etl", "another NAME="),
        ({"kind": "sensors", "waits_for": "copy_dedup.x"}, "no DAG 'copy_dedup'", "tests/dags/imported.py"),
        ({"kind": "sensors", "waits_for": "copy_deduplicate.event_event"}, "no task 'event_event'", "'event_events'"),
        ({"kind": "sensors", "schedule": "0 * * * *"}, "no single shift", "SCHEDULE='0 1 * * *'"),
        ({"kind": "sensors", "schedule": "none"}, "no single shift", "SCHEDULE='0 1 * * *'"),
        ({"kind": "sensors", "waits_for": "jetstream_rerun"}, "no single shift", "keeps pace"),
    ],
)
def test_what_would_clash_or_wait_in_vain_is_refused(
    ours: dict[str, DAG], tmp_path: Path, given: dict[str, str], says: str, advice: str
) -> None:
    (tmp_path / "dags").symlink_to(ROOT / "dags")
    with pytest.raises(WtmoError) as refused:
        new_dag._not_taken(ordered(**given), ours, ROOT)
        new_dag._values(ordered(**given), ours)
    assert says in refused.value.what
    assert advice in (refused.value.fix or "")


@pytest.fixture
def ours(dags: dict[str, DAG]) -> dict[str, DAG]:
    return {dag_id: dag for dag_id, dag in dags.items() if Path(dag.fileloc).is_relative_to(ROOT / "dags")}


def test_nothing_is_written_over(tmp_path: Path, dags: dict[str, DAG]) -> None:
    test = tmp_path / "tests" / "dags" / "test_brand_new.py"
    test.parent.mkdir(parents=True)
    test.write_text("mine")
    with pytest.raises(WtmoError, match="exists already"):
        new_dag.create(ordered(kind="manual"), dags, tmp_path)
    assert test.read_text() == "mine"
    assert not (tmp_path / "dags").exists(), "all of it is written, or nothing"
    (file,) = new_dag.create(ordered(), dags, tmp_path)
    before = (tmp_path / file).read_text()
    with pytest.raises(WtmoError, match="taken"):
        new_dag.create(ordered(about="Another one."), dags, tmp_path)
    assert (tmp_path / file).read_text() == before


def test_what_does_not_load_is_not_written(
    tmp_path: Path, dags: dict[str, DAG], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_dag, "_formatted", "{}\n1 / 0\n".format)
    with pytest.raises(WtmoError, match="ZeroDivisionError"):
        new_dag.create(ordered(), dags, tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- asking


def test_what_is_missing_is_asked_for() -> None:
    answers = {"Name of the DAG": "asked_for", "Layer of the data stack": "bi", "Team that owns it": "data-tools"}
    asked: list[tuple[str, str, Sequence[str]]] = []

    def ask(question: str, default: str, choices: Sequence[str]) -> str:
        asked.append((question, default, choices))
        return answers.get(question, default)

    wanted = new_dag.order({"tier": "1", "name": " "}, today=TODAY, ask=ask)
    assert (wanted.name, wanted.layer, wanted.team, wanted.tier) == ("asked_for", "bi", "data-tools", "1")
    assert (wanted.kind, wanted.schedule, wanted.start) == ("pod", "@daily", TODAY)
    questions = [question for question, _, _ in asked]
    assert len(set(questions)) == len(questions) == 7
    assert ("Kind of job", "pod", tuple(new_dag.KINDS)) in asked
    assert ("What it does, one sentence", new_dag._about(wanted), ()) in asked


def test_nobody_to_ask_is_told_what_to_type() -> None:
    with pytest.raises(WtmoError) as refused:
        new_dag.order({"name": "some_job", "tier": "2"}, today=TODAY)
    assert refused.value.what.startswith("LAYER, TEAM must be given")
    assert "make new-dag NAME=" in (refused.value.fix or "")


def test_what_is_typed_to_make_meets_no_shell_and_not_make_itself(tmp_path: Path) -> None:
    command, trace = tmp_path / "wtmo", tmp_path / "trace"
    command.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    command.chmod(0o755)
    hostile = {
        "NAME": f"x; touch {trace}",
        "LAYER": f"$(shell touch {trace})",
        "TEAM": f"`touch {trace}`",
        "TIER": f"$$(touch {trace}) ${{HOME}}",
        "SCHEDULE": "0 5 * * *",
        "ABOUT": "'\" # % \\",
        "WAITS_FOR": "a.b",
    }
    # Not that of a make that runs the tests: its child would tell more than the command does.
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    mine["MEMBERS"] = "of another"
    done = subprocess.run(
        ["make", "-o", ".venv/.set-up", f"BIN={tmp_path}", "new-dag", *map("=".join, hostile.items())],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True, env=mine,
    )  # fmt: skip
    given = done.stdout.splitlines()
    assert given[0] == "new-dag"
    assert dict(zip(given[1::2], given[2::2], strict=True)) == {f"--{name}": value for name, value in hostile.items()}
    assert not trace.exists()


def test_the_command_takes_the_names_of_make(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[dict[str, str | None]] = []

    def order(given: dict[str, str | None], **_: object) -> None:
        taken.append(given)
        raise WtmoError("enough")

    monkeypatch.setattr(new_dag, "order", order)
    monkeypatch.setattr("wtmo.graph.loading.has_settings", lambda: True)
    done = CliRunner().invoke(app, ["new-dag", "--NAME", "A_b", "--WAITS_FOR", "C_d", "--waits-for", "E_f"])
    assert done.exit_code == 2
    assert (taken[0]["name"], taken[0]["waits_for"]) == ("A_b", "E_f")
