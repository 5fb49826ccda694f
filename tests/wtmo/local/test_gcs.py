"""The Cloud Storage stand-in: what it stored is there after it was killed."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from utils.config import ROOT
from wtmo.local import gcs
from wtmo.local.state import free_port

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.loopback
SECONDS = 20


@contextmanager
def server(state: Path) -> Generator[str, None, None]:
    port = free_port()
    argv = [sys.executable, "-m", "wtmo.local.gcs", "--port", str(port), "--state", str(state)]
    with subprocess.Popen(argv, cwd=ROOT) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            end = time.monotonic() + SECONDS
            while not answers(f"{url}{gcs.HEALTH}"):
                assert process.poll() is None, "fake-gcs-server ended"
                assert time.monotonic() < end, f"fake-gcs-server did not answer within {SECONDS} s"
                time.sleep(0.05)
            yield url
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def test_objects_survive_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "gcs"
    with server(state) as url:
        bucket = urllib.request.Request(f"{url}/storage/v1/b?project=p", b'{"name": "seeds"}', method="POST")
        bucket.add_header("Content-Type", "application/json")
        urllib.request.urlopen(bucket, timeout=5).close()
        upload = f"{url}/upload/storage/v1/b/seeds/o?uploadType=media&name=day/a.ndjson"
        urllib.request.urlopen(upload, b'{"x": 1}\n', timeout=5).close()
    with (
        server(state) as url,
        urllib.request.urlopen(f"{url}/storage/v1/b/seeds/o/day%2Fa.ndjson?alt=media", timeout=5) as found,
    ):
        assert found.read() == b'{"x": 1}\n'


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    argv = [sys.executable, "-m", "wtmo.local.gcs", "--port", "1", "--state", str(tmp_path / "file" / "gcs")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert str(tmp_path / "file") in done.stderr
