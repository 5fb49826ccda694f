"""A container's log: as a file, and through the API."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import ssl
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager, parse_log_line

from tests.wtmo.local.pods.support import NAMESPACE, TOKEN, PodServer, eventually, log_of, phase, pod, run
from wtmo.local.pods.logs import LONGEST_PART, ContainerLog, nano_timestamp

if TYPE_CHECKING:
    from kubernetes import client


async def text(log: ContainerLog, **options: object) -> bytes:
    return b"".join([block async for block in log.read(**options)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "output",
    [b"", b"\n", b"a\nb\n", b"\x00\xff\xfe\n", b"x" * (3 * LONGEST_PART + 5) + b"\n", b"y" * LONGEST_PART + b"\nz\n"],
)
@pytest.mark.parametrize("piece", [1, 1000, 10**6])
async def test_what_is_written_is_read(tmp_path: Path, output: bytes, piece: int) -> None:
    if piece == 1 and len(output) > 100:
        piece = 7
    log = ContainerLog(tmp_path / "log")
    log.open()
    for start in range(0, len(output), piece):
        log.append(output[start : start + piece])
    log.flush()
    assert await text(log) == output
    stamped = (await text(log, timestamps=True)).split(b"\n")[:-1]
    assert len(stamped) == output.count(b"\n")
    assert stamped == sorted(stamped)


async def test_a_last_line_without_end_is_ended(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    log.open()
    log.append(b"one\ntwo")
    assert await text(log) == b"one\n"
    log.flush()
    assert await text(log) == b"one\ntwo\n"


@pytest.mark.parametrize(("tail", "expected"), [(0, []), (1, [9]), (3, [7, 8, 9]), (10, range(10)), (99, range(10))])
async def test_tail(tmp_path: Path, tail: int, expected: list[int]) -> None:
    log = ContainerLog(tmp_path / "log")
    log.open()
    for number in range(10):
        log.append(str(number).encode() * LONGEST_PART * 2 + b"\n")
    lines = (await text(log, tail=tail)).split(b"\n")[:-1]
    assert [int(line[:1]) for line in lines] == list(expected)
    assert {len(line) for line in lines} <= {LONGEST_PART * 2}


async def test_since(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    log.open()
    log.append(b"old\n")
    moment = nano_timestamp(time.time_ns() + 10**6)
    await asyncio.sleep(0.005)
    log.append(b"new\n")
    assert await text(log, since=moment) == b"new\n"
    assert await text(log, since=nano_timestamp(0)) == b"old\nnew\n"
    assert await text(log, since=moment, tail=5) == b"new\n"
    assert await text(log, since=nano_timestamp(time.time_ns() + 10**12)) == b""


async def test_followers_get_everything_and_end_with_close(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    log.open()
    followers = [asyncio.create_task(text(log, follow=True)) for _ in range(3)]
    for number in range(100):
        log.append(b"%d\n" % number)
        await asyncio.sleep(0)
    log.flush()
    await asyncio.sleep(0.01)
    assert not any(follower.done() for follower in followers)
    log.close()
    expected = b"".join(b"%d\n" % number for number in range(100))
    assert await asyncio.wait_for(asyncio.gather(*followers), 5) == [expected] * 3
    assert await text(log, follow=True) == expected


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    log.open()
    assert log.last_lines(lines=5, size=100) == ""
    log.append(b"".join(b"line %d\n" % number for number in range(100_000)))
    assert log.last_lines(lines=3, size=1000).split() == ["line", "99997", "line", "99998", "line", "99999"]
    assert log.last_lines(lines=1000, size=10) == "ine 99999\n"


# -- through the API


@pytest.mark.loopback
def test_ten_thousand_lines_followed_to_the_end(api: client.CoreV1Api) -> None:
    """As the provider does it; the container has ended, by its status, when the log does."""
    code = "import time\nfor n in range(10000):\n  print('line', n, flush=n % 1000 == 0)\n  if n % 2500 == 0: time.sleep(0.1)"
    api.create_namespaced_pod(NAMESPACE, pod("chatty", code))
    eventually("the start", lambda: phase(api, "chatty") != "Pending")
    response = api.read_namespaced_pod_log(
        "chatty", NAMESPACE, follow=True, timestamps=True, container="base", _preload_content=False
    )
    lines = response.data.decode().splitlines()
    ended = api.read_namespaced_pod("chatty", NAMESPACE)
    assert ended.status.container_statuses[0].state.terminated is not None
    parsed = [parse_log_line(line) for line in lines]
    assert [message for _, message in parsed] == [f"line {n}" for n in range(10_000)]
    assert all(moment is not None for moment, _ in parsed)


@pytest.mark.loopback
def test_the_provider_reads_each_line_once(api: client.CoreV1Api) -> None:
    code = "import time\nfor n in range(30): print('seen', n, flush=True); time.sleep(0.02)"
    api.create_namespaced_pod(NAMESPACE, pod("once", code))
    eventually("the start", lambda: phase(api, "once") != "Pending")
    seen: list[str] = []
    manager = PodManager(api)
    status = manager.fetch_container_logs(
        api.read_namespaced_pod("once", NAMESPACE), "base", follow=True,
        log_formatter=lambda _, message: seen.append(message) or message,
    )  # fmt: skip
    assert not status.running
    # The provider's PodLogsConsumer itself ends every log with an empty piece.
    assert [line.rstrip("\n") for line in seen] == [f"seen {n}" for n in range(30)]


@pytest.mark.loopback
def test_binary_output(api: client.CoreV1Api) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 2000)"
    run(api, pod("binary", code))
    output = bytes(range(256)) * 2000 + b"\n"
    assert hashlib.sha256(log_of(api, "binary")).digest() == hashlib.sha256(output).digest()
    assert log_of(api, "binary", tail_lines=1) == output[output[:-1].rindex(b"\n") + 1 :]


@pytest.mark.loopback
def test_options(api: client.CoreV1Api, server: PodServer) -> None:
    run(api, pod("options", "print('a'); print('b'); print('c')"))
    assert log_of(api, "options", tail_lines=2) == b"b\nc\n"
    assert log_of(api, "options", since_seconds=100) == b"a\nb\nc\n"
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert request(server, f"/options/log?sinceTime={later}") == (200, b"")
    for wrong in (
        "tailLines=-1",
        "tailLines=x",
        "sinceSeconds=0",
        "sinceTime=yesterday",
        "previous=true",
        "container=x",
    ):
        code, body = request(server, f"/options/log?{wrong}")
        assert (code, b'"BadRequest"' in body) == (400, True), wrong


def request(server: PodServer, path: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(server.certificates.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    connection.request("GET", pods + path, headers={"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.loopback
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_followers_of_a_silent_program_that_leave_hold_nothing(api: client.CoreV1Api, server: PodServer) -> None:
    def open_files() -> int:
        return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))

    api.create_namespaced_pod(NAMESPACE, pod("silent", "import time; time.sleep(600)"))
    eventually("the start", lambda: phase(api, "silent") == "Running")
    before = open_files()
    for _ in range(20):
        response = api.read_namespaced_pod_log("silent", NAMESPACE, follow=True, _preload_content=False)
        response.connection.sock.close()
        response.close()
    eventually("the followers' end", lambda: open_files() <= before + 2)
    api.delete_namespaced_pod("silent", NAMESPACE, grace_period_seconds=0)


@pytest.mark.loopback
def test_a_follower_that_leaves_disturbs_nothing(api: client.CoreV1Api, server: PodServer) -> None:
    code = "import time\nfor n in range(40): print('n', n, flush=True); time.sleep(0.05)"
    api.create_namespaced_pod(NAMESPACE, pod("deserted", code))
    eventually("the start", lambda: phase(api, "deserted") == "Running")
    for _ in range(5):
        response = api.read_namespaced_pod_log("deserted", NAMESPACE, follow=True, _preload_content=False)
        response.read(3)
        response.connection.sock.close()
        response.close()
    stays = api.read_namespaced_pod_log("deserted", NAMESPACE, follow=True, _preload_content=False)
    assert stays.data.decode().splitlines() == [f"n {n}" for n in range(40)]
    assert phase(api, "deserted") == "Succeeded"
    assert "Traceback" not in (server.folder / "log").read_text()
