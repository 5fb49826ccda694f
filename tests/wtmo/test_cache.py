"""What is kept on disk, and what is removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wtmo.cache import HALF_MADE, Cache, read_json, tidy

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_kept_is_found_by_its_whole_name(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "code")
    cache.put({"x": 1}, "a", "b")
    assert cache.get("a", "b") == {"x": 1}
    assert cache.get("ab", "") == cache.get("a") == {}
    assert [path.name for path in (tmp_path / "code").iterdir() if path.name.startswith(HALF_MADE)] == []


def test_what_can_not_be_read_is_not_known(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put({"x": 1}, "a")
    [file] = tmp_path.iterdir()
    for content in (b"", b"[1]", b'{"x"', b"\xff"):
        file.write_bytes(content)
        assert cache.get("a") == {}
    assert read_json(tmp_path / "none") == {}


def test_those_that_are_used_stay_and_of_the_others_the_newest(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "middle", "old", "used"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    tidy(tmp_path, {"used", "not made yet"}, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "used"]
    assert (tmp_path / "used").stat().st_mtime > 1000
    tidy(tmp_path, {"new", "used"}, keep=1)
    assert len(list(tmp_path.iterdir())) == 2
    tidy(tmp_path / "nowhere", set(), keep=1)
