"""The tree that is served is the old or the new one, whatever fails or is killed when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.imports import store as store_module
from wtmo.imports.store import KEEP_SECONDS, Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD = {"dags/a.py": b"old a", "dags/sub/b.py": b"same"}
NEW = {"dags/a.py": b"new a", "dags/sub/b.py": b"same", "dags/c.py": b"c"}


def version(files: dict[str, bytes]) -> str:
    return f"commit-{digest(files)}"


def put(store: Store, files: dict[str, bytes]) -> None:
    with store.lock(print):
        store.serve(store.write_tree(version(files), files, {"of": version(files)}))


def served(store: Store) -> dict[str, bytes]:
    tree = store.current
    assert tree is not None
    assert store.sound(tree)
    assert tree.status == {"of": tree.version}
    return tree.files()


def test_a_tree_is_written_and_served(store: Store) -> None:
    assert store.current is None
    put(store, OLD)
    assert served(store) == OLD
    assert (store.root / "current" / "dags" / "a.py").read_bytes() == b"old a"
    put(store, NEW)
    assert served(store) == NEW
    assert store.tree(version(OLD)).files() == OLD, "a reader that holds the old tree goes on"
    put(store, OLD)
    assert served(store) == OLD


def test_the_digest_is_of_names_and_bytes() -> None:
    assert digest(OLD) == digest(dict(reversed(OLD.items())))
    assert len({digest(OLD), digest(NEW), digest({"dags/a.py": b"same", "dags/sub/b.py": b"old a"}), digest({})}) == 4


def test_a_file_that_did_not_change_keeps_its_time(store: Store) -> None:
    """Airflow parses anew what is newer than its last look."""
    put(store, OLD)
    for name in OLD:
        os.utime(store.root / "current" / name, (1000, 1000))
    put(store, NEW)
    assert (store.root / "current" / "dags/sub/b.py").stat().st_mtime == 1000
    assert (store.root / "current" / "dags/a.py").stat().st_mtime > 1000


@pytest.mark.parametrize("damage", ["changed", "removed", "added", "emptied"])
def test_a_damaged_tree_is_put_right(store: Store, damage: str) -> None:
    put(store, OLD)
    folder = store.root / "current" / "dags"
    if damage == "changed":
        (folder / "a.py").chmod(0o644)
        (folder / "a.py").write_bytes(b"other")
    elif damage == "added":
        (folder / "more.py").write_bytes(b"more")
    else:
        for path in folder.rglob("*.py") if damage == "emptied" else [folder / "a.py"]:
            path.unlink()
    assert store.current is not None
    assert not store.sound(store.current)
    put(store, OLD)
    assert served(store) == OLD


def test_what_is_not_there_is_not_sound(store: Store) -> None:
    assert not store.sound(store.tree(version({})))


def test_what_python_leaves_in_a_tree_is_no_damage(store: Store) -> None:
    put(store, OLD)
    cache = store.root / "current" / "dags" / "__pycache__"
    cache.mkdir()
    (cache / "a.cpython-311.pyc").write_bytes(b"x")
    assert served(store) == OLD


class CallFailedError(Exception):
    pass


def test_a_failure_at_any_step_leaves_a_complete_tree(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call that changes the disk fails once; then the same import is done again."""
    put(store, OLD)
    real = {(owner, name): getattr(owner, name) for owner, name in STEPS}
    failed = 0
    for step in range(1, 100):
        left = step

        def fail(call: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*arguments: object, **keywords: object) -> object:
                nonlocal left
                left -= 1
                if not left:
                    raise CallFailedError
                return call(*arguments, **keywords)

            return wrapped

        for (owner, name), call in real.items():
            monkeypatch.setattr(owner, name, fail(call))
        try:
            put(store, NEW)
            done = True
        except CallFailedError:
            done = False
            failed += 1
        for (owner, name), call in real.items():
            monkeypatch.setattr(owner, name, call)
        now = served(store)
        assert now in (OLD, NEW)
        if done:
            break
        put(store, NEW)
        assert served(store) == NEW
        put(store, OLD)
        # So that the next step has all to do again.
        with store.lock(print):
            store._remove(store.tree(version(NEW)).path)
    assert served(store) == NEW
    assert failed > 10, "there are more steps than that"
    assert not list(store.root.rglob(".half-made.*")), "what was half made is removed"


STEPS = [
    (store_module.os, "replace"),
    (store_module.Path, "mkdir"),
    (store_module.Path, "write_bytes"),
    (store_module.Path, "write_text"),
    (store_module.Path, "chmod"),
    (store_module.Path, "symlink_to"),
]

KILLED = """
import sys
from pathlib import Path
from wtmo.imports.store import Store, digest
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(100_000):
    files = {f"dags/{name}.py": b"%d" % number * 5000 for name in range(30)}
    version = f"commit-{digest(files)}"
    with store.lock(print):
        store.serve(store.write_tree(version, files, {"of": version}))
        store.sweep(4e9, "")
"""


def test_kill_at_any_moment_leaves_a_complete_tree(store: Store) -> None:
    """A process that imports without end is killed 20 times, at moments that spread over its steps."""
    put(store, OLD)
    seen = set()
    for attempt in range(20):
        command = [sys.executable, "-c", KILLED, str(store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment()) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.002 + attempt * 0.0037)
            process.send_signal(signal.SIGKILL)
        served(store)
        assert store.current is not None
        seen.add(store.current.version)
        put(store, NEW)
        assert served(store) == NEW
        assert not list(store.root.rglob(".half-made.*"))
    assert len(seen) > 3, "it was killed in the midst of work"


def test_two_at_once_the_second_waits_and_says_so(store: Store) -> None:
    inside, go_on = threading.Event(), threading.Event()
    said: list[str] = []

    def first() -> None:
        with store.lock(print):
            inside.set()
            assert go_on.wait(20)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(20)

    def report(line: str) -> None:
        said.append(line)
        go_on.set()

    with store.lock(report, seconds=20):
        pass
    thread.join(20)
    assert said == ["another import is under way; waiting for it"]


def test_waiting_has_an_end(store: Store) -> None:
    with store.lock(print), pytest.raises(WtmoError, match="was not done after 0 s"), store.lock(print, seconds=0):
        pass


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WtmoError, match="cannot write to"), Store(tmp_path / "file" / "store").lock(print):
        pass


def test_a_pinned_copy(store: Store) -> None:
    assert store.pin("commit-none") is None
    put(store, OLD)
    put(store, NEW)
    pinned = store.pin(version(OLD))
    assert pinned is not None
    assert pinned.path == store.versions / version(OLD)
    assert pinned.files() == OLD
    (pinned.dags / "a.py").chmod(0o644)
    (pinned.dags / "a.py").write_bytes(b"a task wrote here")
    mended = store.pin(version(OLD))
    assert mended is not None
    assert mended.files() == OLD


def test_sweeping_leaves_what_a_run_may_need(store: Store) -> None:
    contents = [{"dags/a.py": b"%d" % number} for number in range(6)]
    for files in contents:
        put(store, files)
    now = 2_000_000_000.0
    ages = {0: 30, 1: 20, 2: 10, 3: 3, 4: 2, 5: 25}
    for number, days in ages.items():
        when = now - days * 86_400
        os.utime(store.tree(version(contents[number])).path, (when, when))
    assert store.sweep(now, "") == [version(contents[number]) for number in (1, 0)]
    assert served(store) == contents[5], "what is served stays, however old"
    assert KEEP_SECONDS == 7 * 86_400
    assert store.sweep(now, "") == []


def test_a_tree_s_age_counts_from_when_it_was_replaced(store: Store) -> None:
    put(store, OLD)
    assert store.current is not None
    os.utime(store.current.path, (1000, 1000))
    put(store, NEW)
    assert store.tree(version(OLD)).path.stat().st_mtime > 1_000_000


def test_old_caches_are_swept(store: Store) -> None:
    for age, name in enumerate(["newest", "middle", "oldest"]):
        store.cache(name).put({"x": 1}, "key")
        os.utime(store.root / "cache" / name, (1000 - age, 1000 - age))
    store.sweep(2000, "oldest")
    assert sorted(path.name for path in (store.root / "cache").iterdir()) == ["newest", "oldest"]
    assert store.cache("oldest").get("key") == {"x": 1}
