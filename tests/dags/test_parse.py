"""Reading the DAG files does nothing else: no socket, no process, no file written, no database, Variable or Connection."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.execution_time import context
from airflow.utils import session
from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import DAG

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dags").rglob("*.py"))

LONGEST = 120
LONGER = {
    "collection/probe_scraper.py": "18 tasks, nearly each with arguments of its own",
    "etl/glam.py": "4 DAGs with 202 tasks",
    "operations/bqetl_artifact_deployment.py": "11 tasks, each with a command of its own, one of 13 steps",
    "operations/bqetl_managed_backfills.py": "2 DAGs with 16 tasks and 6 posts, mapped over the entries of a file",
    "reverse_etl/eam_integrations.py": "5 DAGs with 29 secrets",
    "reverse_etl/merino_jobs.py": "6 DAGs with 14 tasks, nearly each with arguments and secrets of its own",
}
"""Files of more than 120 lines, and what of their graph needs them."""

ACTS = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.spawn",
    "os.putenv",
    "os.unsetenv",
)
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "shutil.",
)


class Watch:
    """What happens while it is on, as Python itself tells it: also what a file hides in ``try``."""

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.seen is None:
            return
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes or event.startswith((*ACTS, *CHANGES)):
            self.tell(f"{event}{arguments}")

    def tell(self, what: str) -> None:
        if self.seen is not None:
            self.seen.append(what[:200])


@pytest.fixture(scope="module")
def hearing() -> Watch:
    return Watch()


@pytest.fixture
def watch(hearing: Watch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Tells of every act, and lets no database, Variable or Connection be had."""

    def refuse(what: str) -> Callable[..., Any]:
        def refused(*arguments: Any, **_: Any) -> Any:
            hearing.tell(f"{what}{arguments}")
            raise RuntimeError(f"{what} while a DAG file is read")

        return refused

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("socket", "create_connection", "getaddrinfo"):
        # Where pytest-socket stands before them, Python tells nothing.
        monkeypatch.setattr(socket, name, refuse("socket."))
    monkeypatch.setattr(context, "_get_variable", refuse("Variable"))
    monkeypatch.setattr(context, "_get_connection", refuse("Connection"))
    monkeypatch.setattr("airflow.models.variable.Variable.get_variable_from_secrets", refuse("Variable"))
    monkeypatch.setattr("airflow.models.connection.Connection.get_connection_from_secrets", refuse("Connection"))
    monkeypatch.setattr(session, "create_session", refuse("session"))
    monkeypatch.setattr("airflow.settings.Session", refuse("session"))
    yield hearing
    hearing.seen = None


def read(folder: Path, watch: Watch) -> tuple[DagBag, list[str]]:
    """Read a folder's DAGs; and what was done meanwhile."""
    watch.seen = []
    bag = DagBag(dag_folder=str(folder), bundle_path=folder, bundle_name=folder.name)
    seen, watch.seen = watch.seen, None
    return bag, seen


def test_reading_the_dags_does_nothing_else(dags: dict[str, DAG], watch: Watch) -> None:
    bag, seen = read(ROOT / "dags", watch)
    assert not bag.import_errors
    assert set(bag.dags) <= set(dags), "each was read before: what they import is loaded"
    assert bag.dags
    assert seen == []


@pytest.mark.parametrize(
    ("act", "event"),
    [
        ("import socket; socket.getaddrinfo('localhost', 1)", "socket."),
        ("import socket; socket.socket()", "socket."),
        ("from urllib.request import urlopen; urlopen('http://localhost:1')", "socket."),
        ("import _socket; _socket.getaddrinfo('localhost', 1)", "socket.getaddrinfo"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import os; os.system('true')", "os.system"),
        ("import os; os.environ['A'] = 'b'", "os.putenv"),
        ("open(__file__ + '.new', 'w').close()", "open"),
        ("from pathlib import Path; Path(__file__).with_suffix('.d').mkdir()", "os.mkdir"),
        ("from airflow.sdk import Variable; Variable.get('a', default=None)", "Variable"),
        ("from airflow.models import Variable; Variable.get('a', default_var=None)", "Variable"),
        ("from airflow.sdk import Connection; Connection.get('a')", "Connection"),
        ("from airflow.sdk import BaseHook; BaseHook.get_connection('a')", "Connection"),
        ("from airflow.models import Connection; Connection.get_connection_from_secrets('a')", "Connection"),
        ("from airflow.utils import session; session.create_session()", "session"),
        ("from airflow import settings; settings.Session()", "session"),
    ],
)
def test_an_act_is_found_even_where_its_failure_is_caught(tmp_path: Path, watch: Watch, act: str, event: str) -> None:
    (tmp_path / "acts.py").write_text(
        f"from airflow.sdk import DAG\ntry:\n    {act}\nexcept BaseException:\n    pass\nDAG('acts', schedule=None)\n"
    )
    _, seen = read(tmp_path, watch)
    assert any(one.startswith(event) for one in seen), seen


def clock(path: Path) -> str:
    """What of a file is another thing each time it is read, in Airflow's words."""
    told = check_dag_file_stability(str(path)).get_error_format_dict(str(path), path.parent) or {}
    return "\n".join(told.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dag_is_the_same_each_time_it_is_read(path: Path) -> None:
    assert clock(path) == ""


def test_a_dag_that_reads_the_clock_is_found(tmp_path: Path) -> None:
    path = tmp_path / "reads_the_clock.py"
    path.write_text("from datetime import datetime\nfrom airflow.sdk import DAG\nDAG('d', start_date=datetime.now())\n")
    assert "datetime.now()" in clock(path)


def test_no_file_is_longer_than_its_graph_needs() -> None:
    assert FILES
    lengths = {path.relative_to(ROOT / "dags").as_posix(): path.read_text().count("\n") for path in FILES}
    long = {name: length for name, length in lengths.items() if length > LONGEST}
    assert long.keys() <= LONGER.keys(), (
        f"over {LONGEST} lines: { {name: long[name] for name in long.keys() - LONGER.keys()} }. Move what another DAG could use to utils/ or "
        "operators/, make a table of what repeats; or say in LONGER what of the graph needs the lines."
    )
    assert LONGER.keys() <= long.keys(), f"no longer so long: {LONGER.keys() - long.keys()}"
