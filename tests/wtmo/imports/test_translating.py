"""Translation in processes: a file that ends or hangs its process is refused, the others are not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from wtmo.imports.plan import Problem
from wtmo.imports.translating import Translated, _shares, translate_all

if TYPE_CHECKING:
    from pathlib import Path

# Speaks the protocol; does what a file's bytes say.
FAKE = """
import base64, json, os, sys, time
for request in map(json.loads, sys.stdin):
    said = base64.b64decode(request["source"]).decode()
    if said == "end":
        os._exit(9)
    if said == "hang":
        time.sleep(600)
    if said == "environment":
        said = json.dumps(sorted(os.environ))
    print(json.dumps({"text": said, "changes": [["rule", 1, "what"]], "problems": []}), flush=True)
"""


def translated(files: dict[str, str], seconds: float = 20) -> dict[str, Translated]:
    given = [(name, text.encode()) for name, text in files.items()]
    return {
        result.name: result for result in translate_all(given, seconds=seconds, command=(sys.executable, "-c", FAKE))
    }


def test_a_file_that_ends_its_process() -> None:
    found = translated({"a.py": "a", "b.py": "end", "c.py": "c", "d.py": "end"})
    assert {name: result.text for name, result in found.items() if result.text} == {"a.py": b"a", "c.py": b"c"}
    assert found["b.py"].problems == (Problem("its translation ends its process (status 9)"),)
    assert found["d.py"].problems == found["b.py"].problems


def test_a_file_that_hangs() -> None:
    found = translated({"a.py": "hang", "b.py": "b"}, seconds=1)
    assert found["a.py"].problems == (Problem("its translation takes longer than 1 s"),)
    assert found["b.py"].text == b"b"


def test_no_secret_gets_there(monkeypatch: object) -> None:
    names = translated({"a.py": "environment"})["a.py"].text.decode()
    assert "PYTHONPATH" in names
    assert "AIRFLOW" not in names
    assert set(eval(names)) - {"LC_ALL", "LC_CTYPE", "PATH", "PYTHONPATH"} == set()
    assert len(os.environ) > 4


def test_files_are_shared_out_by_size() -> None:
    files = [(str(number), b"#" * size) for number, size in enumerate([90_000, 50_000, 40_000, 10_000])]
    assert [[name for name, _ in share] for share in _shares(files)] == [["0", "3"], ["1", "2"]]
    assert [[name for name, _ in share] for share in _shares(files[3:])] == [["3"]]


def test_the_translator_itself(tmp_path: Path) -> None:
    bad = "from airflow import DAG\nimport socket\nsocket.create_connection(('example.com', 1))\n"
    deep = "x = " + "(" * 5000 + ")" * 5000
    found = {
        result.name: result
        for result in translate_all([("bad.py", bad.encode()), ("deep.py", deep.encode()), ("bytes.py", b"\xff\xfe")])
    }
    assert {name: result.text for name, result in found.items()} == dict.fromkeys(found, b"")
    assert {problem.line for problem in found["bad.py"].problems} >= {2}
    assert found["deep.py"].problems
    assert found["bytes.py"].problems
