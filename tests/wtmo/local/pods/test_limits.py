"""Limits: what a text means, where control groups can be made, and what is done where they can't."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wtmo.local.pods import limits
from wtmo.local.pods.limits import ControlGroups, Group, Limits, quantity, resident_memory
from wtmo.local.pods.runtimes import SEARCH_PATH, NamespaceRuntime, Orders, ProcessRuntime, choose

if TYPE_CHECKING:
    from wtmo.local.pods.runtimes import Running

EAT = "kept = [bytearray(1_000_000) for _ in range(300)]; import time; time.sleep(60)"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("1", 1), (2, 2), (0.5, 0.5), ("500m", 0.5), ("1.5", 1.5), (".5", 0.5), ("128Mi", 128 * 2**20), ("1Gi", 2**30),
        ("1G", 1e9), ("1k", 1000), ("1e3", 1000), ("1E3", 1000), ("12E2", 1200), ("1E", 1e18), ("1Ei", 2**60), ("100u", 1e-4),
    ],
)  # fmt: skip
def test_quantity(text: object, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1 Mi", "1mi", "1KB", "Mi", "1e", "\u0661", None, True, [], "1\n", "9" * 3 + "e999"]
)
def test_what_is_no_quantity(text: object) -> None:
    with pytest.raises(ValueError, match="must be a quantity"):
        quantity(text)


def test_limits_of_a_container() -> None:
    stated = {"resources": {"limits": {"memory": "2Gi", "cpu": "1500m"}, "requests": {"memory": "1Gi"}}}
    assert Limits.of(stated) == Limits(memory=2 * 2**30, cpu=1.5)
    for nothing in (
        {},
        {"resources": None},
        {"resources": {"requests": {"memory": "1Gi"}}},
        {"resources": {"limits": {"memory": "0"}}},
    ):
        assert Limits.of(nothing) == Limits()


# -- where groups can be made: folders that look like the kernel's


def mount(point: Path, kind: str, options: str, root: str = "/") -> str:
    return f"30 23 0:26 {root} {point} rw,nosuid shared:4 - {kind} {kind} rw,{options}\n"


def v1(top: Path, name: str, own: str) -> Path:
    folder = top / name / own.lstrip("/")
    folder.mkdir(parents=True)
    return folder


def v2(folder: Path, controllers: str = "memory cpu", handed_down: str = "") -> Path:
    if not folder.exists():
        folder.mkdir()
    (folder / "cgroup.controllers").write_text(f"{controllers}\n")
    (folder / "cgroup.subtree_control").write_text(f"{handed_down}\n")
    return folder


def test_version_1_below_the_own_group(tmp_path: Path) -> None:
    top, state = tmp_path / "cgroup", tmp_path / "state"
    state.mkdir()
    memory, cpu = v1(top, "memory", "/user/shell"), v1(top, "cpu,cpuacct", "/")
    mounts = mount(top / "memory", "cgroup", "memory") + mount(top / "cpu,cpuacct", "cgroup", "cpu,cpuacct")
    groups = ControlGroups.find(state, "4:memory:/user/shell\n2:cpu,cpuacct:/\n0::/\n", mounts)
    assert {name: base.parent for name, base in groups.bases.items()} == {"memory": memory, "cpu": cpu}
    assert str(groups) == "memory by control groups, cpu by control groups"


def test_version_1_in_a_container_that_sees_only_its_own(tmp_path: Path) -> None:
    """The mount shows the group ``/docker/x`` as its top."""
    memory = v1(tmp_path, "memory", "/")
    groups = ControlGroups.find(tmp_path, "4:memory:/docker/x\n", mount(memory, "cgroup", "memory", root="/docker/x"))
    assert groups.bases["memory"].parent == memory
    assert groups.missing == {"cpu": "no such controller is mounted"}
    assert str(groups) == "memory by control groups, cpu not enforced (no such controller is mounted)"


def test_version_2_below_the_nearest_group_that_hands_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell of a user's systemd session: its own group holds processes, the slice above hands memory down, not cpu."""
    top = v2(tmp_path / "top", handed_down="memory cpu")
    session = v2(top / "session", handed_down="memory")
    own = v2(session / "shell")
    really = limits._hands_down

    def busy(folder: Path, controller: str, *, enable: bool) -> bool:
        return really(folder, controller, enable=enable and folder != own)

    monkeypatch.setattr(limits, "_hands_down", busy)
    made: list[Path] = []
    mkdir = Path.mkdir

    def kernel(path: Path, *arguments: object, **options: object) -> None:
        mkdir(path, *arguments, **options)
        if path.name.startswith("wtmo"):
            made.append(v2(path))

    monkeypatch.setattr(Path, "mkdir", kernel)
    groups = ControlGroups.find(tmp_path, "0::/session/shell\n", mount(top, "cgroup2", "nsdelegate"))
    assert {name: base.parent for name, base in groups.bases.items()} == {"memory": session, "cpu": top}
    assert {(base / "cgroup.subtree_control").read_text() for base in made} == {"+memory", "+cpu"}


def test_version_2_without_delegation(tmp_path: Path) -> None:
    top = v2(tmp_path / "top")
    own = top / "own"
    own.mkdir()  # not even a file that could be written
    (top / "cgroup.subtree_control").write_text("pids\n")
    groups = ControlGroups.find(tmp_path, "0::/own\n", mount(top, "cgroup2", "nsdelegate"))
    assert groups.bases == {}
    assert groups.missing["memory"] == f"no group from {own} up hands the controller down"
    assert "memory watched four times a second (no group" in str(groups)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("")  # as good as a read-only file system: nothing can be made below it
    groups = ControlGroups.find(tmp_path, "4:memory:/\n", mount(tmp_path / "memory", "cgroup", "memory"))
    assert groups.bases == {}
    assert "Not a directory" in groups.missing["memory"]


def test_limits_are_written_in_both_versions(tmp_path: Path) -> None:
    asked = Limits(memory=1000, cpu=0.25)
    for version, files in (
        (1, {"memory.limit_in_bytes": "1000", "memory.memsw.limit_in_bytes": "1000", "cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "100000"}),
        (2, {"memory.max": "1000", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "25000 100000"}),
    ):  # fmt: skip
        folder = tmp_path / str(version)
        folder.mkdir()
        for name in files:
            (folder / name).touch()
        limits._limit_memory(folder, 1000)
        limits._limit_cpu(folder, int((asked.cpu or 0) * 100_000))
        assert {name: (folder / name).read_text() for name in files} == files


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", True),
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", False),
    ],
)
def test_the_kernels_count(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    (tmp_path / name).write_text(text)
    assert Group({"memory": tmp_path}).oom_killed() is expected
    assert Group().oom_killed() is False


# -- real programs


def orders(folder: Path, code: str, **asked: float) -> Orders:
    folder.mkdir()
    env = {"PATH": SEARCH_PATH}
    return Orders([sys.executable, "-c", code], env, folder, limits=Limits(**asked))


async def end_of(running: Running) -> tuple[int, bool, bytes]:
    async with asyncio.timeout(20):
        output = await running.output.read()
        return await running.wait(), running.oom_killed(), output


@pytest.mark.parametrize("kind", ["namespace", "process"])
async def test_without_control_groups_the_server_watches(tmp_path: Path, namespaces: str | None, kind: str) -> None:
    if kind == "namespace" and namespaces:
        pytest.skip(f"no namespaces: {namespaces}")
    visible = [Path(sys.prefix), Path(sys.base_prefix)]
    runtime = (
        NamespaceRuntime(visible=visible, masked=[], platform=None)
        if kind == "namespace"
        else ProcessRuntime(platform=None)
    )
    child = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {EAT!r}]).returncode)"
    eater, sober = await asyncio.gather(
        runtime.start(orders(tmp_path / "eater", child, memory=100_000_000)),
        runtime.start(orders(tmp_path / "sober", "print('enough')", memory=100_000_000)),
    )

    async def wait(running: Running) -> tuple[int, bool]:
        async with asyncio.timeout(20):
            return await running.wait(), running.oom_killed()

    assert await asyncio.gather(wait(eater), wait(sober)) == [(137, True), (0, False)]


@pytest.mark.parametrize("kind", ["namespace", "process"])
async def test_the_kernel_enforces_them(tmp_path: Path, namespaces: str | None, kind: str) -> None:
    """Where this machine lets us make control groups; where not, all it must say is that it does not."""
    if kind == "namespace" and namespaces:
        pytest.skip(f"no namespaces: {namespaces}")
    groups = ControlGroups.find(tmp_path)
    visible = [Path(sys.prefix), Path(sys.base_prefix)]
    (tmp_path / "trial").mkdir()
    runtime = await choose(kind, visible=visible, masked=[], platform=None, folder=tmp_path / "trial", groups=groups)
    assert runtime.groups.bases or runtime.groups.missing
    if "memory" in runtime.groups.bases:
        eater = await runtime.start(orders(tmp_path / "eater", EAT, memory=100_000_000))
        assert await end_of(eater) == (137, True, b"")
    if "cpu" in runtime.groups.bases:
        spin = "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass\nprint(time.process_time() < 0.5)"
        slow = await runtime.start(orders(tmp_path / "slow", spin, cpu=0.2))
        (group,) = [each for each in runtime.groups.bases["cpu"].iterdir() if each.is_dir()]
        quota = next(each for each in (group / "cpu.max", group / "cpu.cfs_quota_us") if each.exists())
        assert quota.read_text().split()[0] == "20000"
        assert await end_of(slow) == (0, False, b"True\n")
    bases = list(runtime.groups.bases.values())
    assert not [each for base in bases for each in base.iterdir() if each.is_dir()]
    await runtime.close()
    assert not any(base.exists() for base in bases)


async def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    groups = ControlGroups.find(tmp_path)
    left = groups.make(Limits(memory=100_000_000, cpu=1))
    process = await asyncio.create_subprocess_exec("sleep", "600")
    for entry in left.entries:
        Path(entry).write_text(str(process.pid))
    again = ControlGroups.find(tmp_path)
    assert not any(folder.exists() for folder in left.folders.values())
    if left.folders:
        assert await asyncio.wait_for(process.wait(), 5) == -9
    else:
        process.kill()
        await process.wait()
    again.close()


async def test_groups_that_no_container_can_join_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    folder.mkdir()
    fake = ControlGroups({"memory": tmp_path / "nothing"})
    runtime = await choose("process", visible=[], masked=[], platform=None, folder=folder, groups=fake)
    assert runtime.groups.bases == {}
    assert "can't join" in runtime.groups.missing["memory"]


def test_nobody_is_killed_who_is_not_seen(tmp_path: Path) -> None:
    """The kernel lists a process of another namespace as 0, and ``kill(0)`` is this process's own group."""
    (tmp_path / "cgroup.procs").write_text("0\n12\n0\n")
    assert limits._members(tmp_path) == [12]
    assert limits._members(tmp_path / "gone") == []


def test_resident_memory_counts_children() -> None:
    assert resident_memory(os.getpid()) > 5_000_000
    assert resident_memory(2**30) == 0
