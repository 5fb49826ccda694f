"""What a source gives, and what it never does: follow a link, run a hook, take a name for an option."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from wtmo.errors import WtmoError
from wtmo.imports import source as source_module
from wtmo.imports.source import FolderSource, GitSource, Revision, blob_id, clean, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wtmo.imports.conftest import Repository

DAY = 86_400


def git_source(repository: Repository, tmp_path: Path, ref: str | None = None) -> GitSource:
    return GitSource(str(repository.path), tmp_path / "source.git", ref=ref)


def test_a_commit_with_the_history_of_each_file(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit({"a.py": "one\n", "b.py": "bee\n", "README.md": "no DAG"}, "First")
    second = repository.commit({"a.py": "two\n", "sub/c.py": "sea\n"}, "Second")
    source = git_source(repository, tmp_path)
    snapshot = source.snapshot()
    assert (snapshot.id, snapshot.subject, snapshot.date) == (second, "Second", repository.now)
    assert {name: [revision.commit for revision in found] for name, found in snapshot.files.items()} == {
        "a.py": [second, first],
        "b.py": [first],
        "sub/c.py": [second],
    }
    blobs = [revision.blob for revision in snapshot.files["a.py"]]
    assert blobs == [blob_id(b"two\n"), blob_id(b"one\n")]
    assert source.read(blobs) == {blobs[0]: b"two\n", blobs[1]: b"one\n"}
    assert snapshot.files["a.py"][1] == Revision(blobs[1], first, repository.now - DAY, "First")


def test_what_vanished_is_told_with_who_removed_it(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.py": "one\n", "b.py": "bee\n"})
    repository.commit({"a.py": "two\n"})
    removal = repository.commit({"a.py": None}, "Remove it")
    repository.commit({"b.py": "bees\n"})
    snapshot = git_source(repository, tmp_path).snapshot()
    assert set(snapshot.files) == {"b.py"}
    gone = snapshot.vanished["a.py"]
    assert (gone.commit, gone.subject, gone.date) == (removal, "Remove it", repository.now - DAY)
    assert [revision.blob for revision in gone.revisions] == [blob_id(b"two\n"), blob_id(b"one\n")]
    assert gone.until(7) == gone.date + 7 * DAY


def test_a_file_that_came_back_has_not_vanished(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.py": "one\n", "b.py": ""})
    repository.commit({"a.py": None})
    repository.commit({"a.py": "two\n"})
    snapshot = git_source(repository, tmp_path).snapshot()
    assert snapshot.vanished == {}
    assert [revision.blob for revision in snapshot.files["a.py"]] == [blob_id(b"two\n"), blob_id(b"one\n")]


def test_history_is_that_of_the_first_parents(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.py": "one\n"})
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit({"a.py": "never on main alone\n"})
    repository.commit({"a.py": "merged\n"})
    repository.git("checkout", "--quiet", "main")
    repository.now += DAY
    repository.git("merge", "--quiet", "--no-ff", "-m", "Merge", "side")
    snapshot = git_source(repository, tmp_path).snapshot()
    assert [revision.blob for revision in snapshot.files["a.py"]] == [blob_id(b"merged\n"), blob_id(b"one\n")]


def test_branch_tag_and_commit(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit({"a.py": "one\n"})
    repository.git("tag", "-a", "-m", "v1", "v1")
    repository.git("branch", "generated-dags")
    second = repository.commit({"a.py": "two\n"})
    for ref, commit in {None: second, "main": second, "generated-dags": first, "v1": first, first: first}.items():
        assert git_source(repository, tmp_path, ref).snapshot().id == commit


def test_a_commit_that_left_the_branch_is_still_had(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.py": "one\n"})
    old = repository.commit({"a.py": "two\n"})
    source = git_source(repository, tmp_path)
    source.snapshot()
    repository.git("reset", "--quiet", "--hard", "HEAD^")
    repository.commit({"a.py": "three\n"})
    source.snapshot()
    assert source.commit(old).files["a.py"][0].blob == blob_id(b"two\n")


def test_a_commit_is_fetched_by_its_id_where_the_ref_does_not_reach(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.py": "one\n"})
    repository.git("checkout", "--quiet", "-b", "side")
    aside = repository.commit({"a.py": "two\n"})
    assert git_source(repository, tmp_path, "main").commit(aside).id == aside


def test_links_and_submodules_are_named_and_not_followed(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.py": "one\n", "b.py": "bee\n"})
    (repository.path / "dags" / "a.py").unlink()
    (repository.path / "dags" / "a.py").symlink_to("/etc/passwd")
    (repository.path / "dags" / "folder").symlink_to("/etc")
    repository.git("add", "--all")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},dags/module")
    repository.git("commit", "--quiet", "-m", "Links")
    snapshot = git_source(repository, tmp_path).snapshot()
    assert {name: found[0].problem for name, found in snapshot.files.items()} == {
        "a.py": "is a symbolic link; put the file itself there",
        "b.py": "",
        "folder": "is a symbolic link; put the file itself there",
        "module": "is a submodule, which is not followed",
    }
    assert [revision.blob for revision in snapshot.files["a.py"]] == ["", blob_id(b"one\n")]
    assert snapshot.files["a.py"][0].subject == "Links"


@pytest.mark.parametrize("name", ["-rf.py", "a b.py", "über.py", "a;b.py", "a\nb.py", ".hidden.py"])
def test_a_name_that_no_dag_file_may_have(repository: Repository, tmp_path: Path, name: str) -> None:
    repository.commit({name: "x\n", "good.py": "y\n"})
    snapshot = git_source(repository, tmp_path).snapshot()
    problems = {found[0].problem for path, found in snapshot.files.items() if path != "good.py"}
    assert problems == {"has a name that no DAG file may have; use letters, digits, '_', '-' and '.'"}


def test_bounds(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MAX_FILE", 1 << 20)
    repository.commit({"a.py": b"#" * ((1 << 20) + 1), "b.py": "b\n"})
    folder = FolderSource(repository.path)
    for source in (git_source(repository, tmp_path), folder):
        found = source.snapshot().files
        assert (found["a.py"][0].problem, found["b.py"][0].problem) == ("is larger than 1 MiB", "")
    monkeypatch.setattr(source_module, "MAX_FILES", 1)
    for source in (git_source(repository, tmp_path), folder):
        with pytest.raises(WtmoError, match="2 files, more than 1"):
            source.snapshot()


def test_a_fetch_is_bounded_in_size(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MAX_PACK", 200_000)
    repository.commit({"a.py": "small\n"})
    git_source(repository, tmp_path).snapshot()
    repository.commit({"a.py": os.urandom(1_000_000)})
    with pytest.raises(WtmoError, match="cannot fetch HEAD"):
        git_source(repository, tmp_path).snapshot()


def test_nothing_of_the_source_or_the_user_runs(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks, monitors and helpers that the source's or the user's configuration names."""
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $0 >> {ran}\n")
    script.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-merge", "pre-auto-gc"):
        (hooks / hook).symlink_to(script)
    repository.commit({"a.py": "one\n"})
    user = tmp_path / "gitconfig"
    user.write_text(
        f'[core]\n hooksPath = {hooks}\n fsmonitor = {script}\n[gc]\n auto = 1\n[alias]\n fetch = "!{script}"\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user))
    for key, value in {"core.fsmonitor": script, "core.hooksPath": hooks, "uploadpack.packObjectsHook": script}.items():
        repository.git("config", key, str(value))
    source = git_source(repository, tmp_path)
    source.read([source.snapshot().files["a.py"][0].blob])
    assert not ran.exists(), ran.read_text()


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id",
        "http://example.com/r.git",
        "git://example.com/r.git",
        "ftp://example.com/r",
        "--upload-pack=id",
        "-oProxyCommand=id@host:path",
        "user@-oProxyCommand=id:path",
        "user@host:-path",
        "user@host:/-path",
        "ssh://-oProxyCommand=id/path",
        "ssh://-oProxyCommand@host/path",
        "https://user:secret@example.com/r.git",
        "file://host/path",
        "file://relative",
        "https:///nowhere",
        "relative/path",
        "",
    ],
)
def test_a_url_that_git_might_take_for_more_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(WtmoError) as refused:
        GitSource(url, tmp_path / "source.git")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "ref", ["--upload-pack=id", "-x", "", "a b", "a..b", "a@{1}", "a:b", "+a", "a^", "refs/*", "/a"]
)
def test_a_ref_that_git_might_take_for_more_is_refused(repository: Repository, tmp_path: Path, ref: str) -> None:
    with pytest.raises(WtmoError, match="is not a branch"):
        git_source(repository, tmp_path, ref)


def test_what_can_not_be_fetched_says_why(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit({"a.py": "one\n"})
    with pytest.raises(
        WtmoError, match=r"cannot fetch nowhere of .*: fatal: couldn't find remote ref nowhere"
    ) as refused:
        git_source(repository, tmp_path, "nowhere").snapshot()
    assert "check its address" in refused.value.fix
    with pytest.raises(WtmoError, match="couldn't find remote ref") as refused:
        git_source(repository, tmp_path, commit[:10]).snapshot()
    assert "whole hash" in refused.value.fix
    with pytest.raises(WtmoError, match="does not appear to be a git repository"):
        GitSource(str(tmp_path / "none"), tmp_path / "source.git").snapshot()


def test_git_that_hangs_is_ended(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit({"a.py": "one\n"})
    source = GitSource("user@host:path", tmp_path / "source.git", extra_environment={"GIT_SSH_COMMAND": "sleep 600 #"})
    monkeypatch.setattr(source_module, "FETCH_SECONDS", 1)
    with pytest.raises(WtmoError, match="git was not done after 1 s"):
        source.snapshot()


def test_open_source_tells_folder_repository_and_url(repository: Repository, tmp_path: Path) -> None:
    mirror = tmp_path / "m"
    repository.commit({"a.py": "one\n"})
    bare = tmp_path / "bare.git"
    repository.git("clone", "--quiet", "--bare", str(repository.path), str(bare), at=None)
    folder = tmp_path / "folder"
    folder.mkdir()
    for git in (str(repository.path), str(bare), f"file://{bare}", "https://example.com/r", "git@example.com:o/r.git"):
        assert open_source(git, ref=None, mirror=mirror).kind == "git"
    assert open_source(str(repository.path / "dags"), ref=None, mirror=mirror).kind == "folder"
    assert open_source(str(folder), ref=None, mirror=mirror).kind == "folder"
    with pytest.raises(WtmoError, match="folder and no git repository"):
        open_source(str(folder), ref="main", mirror=mirror)
    with pytest.raises(WtmoError, match="no folder, no git repository and no git URL"):
        open_source(str(tmp_path / "none"), ref=None, mirror=mirror)


def test_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    (root / "sub" / "__pycache__").mkdir(parents=True)
    (root / ".git_like").mkdir()
    for name in ("a.py", "sub/b.py", "sub/__pycache__/c.py", ".git_like/d.py", "notes.txt"):
        (root / name).write_text(name)
    (root / "link.py").symlink_to("/etc/passwd")
    (root / "folder").symlink_to("/etc")
    os.mkfifo(root / "pipe.py")
    source = FolderSource(root, lambda: 1000.0)
    snapshot = source.snapshot()
    assert (snapshot.id, snapshot.date) == ("folder", 1000)
    assert {name: found[0].problem for name, found in snapshot.files.items()} == {
        "a.py": "",
        "folder": "is a symbolic link; put the file itself there",
        "link.py": "is a symbolic link; put the file itself there",
        "pipe.py": "is no regular file",
        "sub/b.py": "",
    }
    blob = snapshot.files["a.py"][0].blob
    assert source.read([blob]) == {blob: b"a.py"}


def test_a_folder_remembers_what_is_served(tmp_path: Path) -> None:
    root, served = tmp_path / "folder", tmp_path / "served"
    root.mkdir()
    served.mkdir()
    (root / "a.py").write_text("new")
    (root / "same.py").write_text("same")
    for name, text in {"a.py": "old", "same.py": "same", "gone.py": "gone", "gone_before.py": "x"}.items():
        (served / name).write_text(text)
    source = FolderSource(root, lambda: 1000.0)
    source.remember(served, {"gone_before.py": 7})
    snapshot = source.snapshot()
    assert [revision.blob for revision in snapshot.files["a.py"]] == [blob_id(b"new"), blob_id(b"old")]
    assert len(snapshot.files["same.py"]) == 1
    assert {name: gone.date for name, gone in snapshot.vanished.items()} == {"gone.py": 1000, "gone_before.py": 7}


def test_the_folder_dags_is_taken_when_there_is_one(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.py": "one\n"})
    (repository.path / "top.py").write_text("not a DAG")
    repository.commit({})
    assert set(FolderSource(repository.path).snapshot().files) == {"a.py"}
    assert set(git_source(repository, tmp_path).snapshot().files) == {"a.py"}
    repository.git("rm", "-r", "--quiet", "dags")
    repository.commit({})
    assert set(git_source(repository, tmp_path).snapshot().files) == {"top.py"}


def test_a_subject_shows_no_address_and_moves_no_cursor() -> None:
    assert clean("Fix \x1b[2J for somebody@example.com\x07 " + "x" * 200) == ("Fix [2J for … " + "x" * 200)[:100]


def test_blob_id_is_git_s(repository: Repository) -> None:
    repository.commit({"a.py": "some\n"})
    assert blob_id(b"some\n") == repository.git("rev-parse", "HEAD:dags/a.py")
