"""Which program stands for which image; and the recorder."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from utils.config import ROOT, environment
from utils.images import IMAGES
from wtmo.local.pods.images import BQETL_REPOSITORIES, ImageError, ImageTable, repository

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("alpine", "alpine"),
        ("alpine:3.24.2", "alpine"),
        ("docker.io/library/alpine:3", "alpine"),
        ("docker.io/team/job", "team/job"),
        ("localhost:5000/team/job:1", "localhost:5000/team/job"),
        ("gcr.io/p/i@sha256:" + "0" * 64, "gcr.io/p/i"),
        ("gcr.io/p/i:tag@sha256:" + "0" * 64, "gcr.io/p/i"),
        ("us-docker.pkg.dev/p-1/r_2/i__x:v1.2-3", "us-docker.pkg.dev/p-1/r_2/i__x"),
    ],
)
def test_repository(image: str, expected: str) -> None:
    assert repository(image) == expected


@pytest.mark.parametrize("image", ["", " ", "A", "a b", "a:", "a:b c", "../a", "a@b", "a:" + "x" * 200, "a\n", "-a"])
def test_what_is_no_image(image: str) -> None:
    with pytest.raises(ImageError) as error:
        repository(image)
    assert error.value.reason == "InvalidImageName"


def test_every_registered_image_has_a_program() -> None:
    table = ImageTable.of_project()
    programs = {image.repository: table.program(image.reference) for image in IMAGES.values()}
    assert {program.name for program in programs.values()} == {"bqetl", "recorder"}
    assert {name for name, program in programs.items() if program.name == "bqetl"} == BQETL_REPOSITORIES
    assert table.program("alpine:3.24.2").argv == ()


def test_what_is_not_registered() -> None:
    with pytest.raises(ImageError) as error:
        ImageTable(frozenset({"a/b"})).program("a/c:1")
    assert error.value.reason == "ErrImagePull"
    assert error.value.message == 'image "a/c:1" is not in the registry (utils/images.py) and has no stand-in'


def recorder(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = environment() | {"PYTHONPATH": str(ROOT), **variables}
    argv = [sys.executable, "-m", "wtmo.local.pods.recorder", *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_the_recorder(tmp_path: Path) -> None:
    declared = {"environment": ["A", "B"], "secrets": [{"variable": "B", "secret": "s", "key": "k"}]}
    variables = {
        "A": "value of A",
        "B": "value of B",
        "WTMO_XCOM_DIR": str(tmp_path),
        "WTMO_CONTAINER": json.dumps(declared),
    }
    ended = recorder("some/image:1", "--flag", "two\nlines", **variables)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "stand-in for the image some/image:1" in ended.stdout
    assert "  '--flag'\n  'two\\nlines'\n" in ended.stdout
    assert "  B from s/k\n" in ended.stdout
    assert "value of" not in ended.stdout
    record = json.loads((tmp_path / "return.json").read_text())
    assert record == {"stand_in_for": "some/image:1", "arguments": ["--flag", "two\nlines"], **declared}


def test_the_recorder_without_an_image() -> None:
    ended = recorder()
    assert ended.returncode == 2
    assert "usage" in ended.stderr
