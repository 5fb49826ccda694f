"""The sandboxed load: what a sound file gives, and that a hostile one can harm nobody but itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from wtmo.errors import WtmoError
from wtmo.imports import isolation, sandbox
from wtmo.imports.isolation import Isolation
from wtmo.imports.sandbox import Candidate, Limits, Loaded, Refused, Sandbox

SOUND = """\
import datetime
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG(
    "bqetl_one",
    default_args={"owner": "data-engineering", "email": ["telemetry-alerts@mozilla.com"]},
    start_date=datetime.datetime(2026, 1, 1),
    schedule="0 3 * * *",
    tags=["impact/tier_2"],
) as dag:
    first = EmptyOperator(task_id="first")
    second = EmptyOperator(task_id="second")
    second.set_upstream(first)
"""
LINES = SOUND.count("\n")
# Long enough for a busy machine: only what never ends takes as long.
LIMITS = Limits(seconds=20, memory=256 << 20)


def with_line(text: str) -> str:
    """The sound file with one more line, its last: number ``LINES + 1``."""
    return SOUND + text + "\n"


@pytest.fixture(scope="module")
def server():
    with Sandbox(LIMITS) as running:
        yield running


def one(running: Sandbox, text: str | bytes, name: str = "bqetl_one.py") -> Loaded | Refused:
    (outcome,) = running.load([Candidate(name, text.encode() if isinstance(text, str) else text)])
    return outcome


def refused(running: Sandbox, text: str | bytes) -> Refused:
    outcome = one(running, text)
    assert isinstance(outcome, Refused), outcome
    return outcome


def test_a_sound_file_is_loaded_and_serialized(server: Sandbox) -> None:
    outcome = one(server, SOUND, "folder/bqetl_one.py")
    assert isinstance(outcome, Loaded), outcome
    assert outcome.name == "folder/bqetl_one.py"
    assert outcome.dag_ids == ("bqetl_one",)
    (dag,) = outcome.dags
    assert dag["dag"]["dag_id"] == "bqetl_one"
    assert dag["dag"]["fileloc"] == dag["dag"]["relative_fileloc"] == "folder/bqetl_one.py"
    assert outcome.warnings == ()
    assert outcome.memory > 0


def test_the_same_file_gives_the_same(server: Sandbox) -> None:
    first, second = one(server, SOUND), one(server, SOUND)
    assert isinstance(first, Loaded)
    assert isinstance(second, Loaded)
    assert (first.dags, first.shapes) == (second.dags, second.shapes)


def test_outcomes_come_for_every_file_and_are_reported(server: Sandbox) -> None:
    names = [f"bqetl_{number}.py" for number in range(5)]
    seen: list[Loaded | Refused] = []
    outcomes = list(server.load([Candidate(name, SOUND.encode()) for name in names], seen.append))
    assert sorted(outcome.name for outcome in outcomes) == names
    assert seen == outcomes


def test_files_and_outcomes_longer_than_a_pipe_do_not_wait_for_each_other() -> None:
    long = f"# {'x' * 2_000_000}\ndag.doc_md = 'y' * 2_000_000"
    with Sandbox() as server:
        names = {f"bqetl_{number}.py" for number in range(6)}
        outcomes = list(server.load([Candidate(name, with_line(long).encode()) for name in names]))
    assert {outcome.name for outcome in outcomes if isinstance(outcome, Loaded)} == names


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        pytest.param(with_line("def"), LINES + 1, "SyntaxError", id="syntax"),
        pytest.param(with_line("EmptyOperator(task_id='x', colour=1)"), LINES + 1, "colour", id="unknown keyword"),
        pytest.param(with_line("import airflow.nowhere"), LINES + 1, "ModuleNotFoundError", id="unknown import"),
        pytest.param(with_line("from utils.gcp import bigquery"), LINES + 1, "ImportError", id="unknown name"),
        pytest.param(with_line("raise SystemExit('enough')"), LINES + 1, "enough", id="exit"),
        pytest.param(with_line("raise KeyboardInterrupt"), LINES + 1, "KeyboardInterrupt", id="interrupt"),
        pytest.param(with_line("first.set_upstream(second)"), None, "Cycle", id="cycle"),
        pytest.param(with_line("x = [0] * 10**9"), LINES + 1, "MemoryError", id="memory"),
        pytest.param(with_line("def f(): f()\nf()"), LINES + 1, "RecursionError", id="recursion"),
        pytest.param(with_line("import os; os._exit(0)"), LINES + 1, "exit code 0", id="_exit(0)"),
        pytest.param(with_line("import os; os._exit(3)"), LINES + 1, "exit code 3", id="_exit(3)"),
        pytest.param(with_line("again = DAG('bqetl_one')"), LINES + 1, "bqetl_one", id="duplicate id"),
        pytest.param("import datetime\n# airflow DAG\n", None, "no DAG", id="no DAG"),
        pytest.param("import datetime\n", None, "no DAG", id="nothing of Airflow"),
        pytest.param("", None, "no DAG", id="empty"),
        pytest.param(SOUND.replace('["impact/tier_2"]', "[]"), 6, "impact tag", id="policy"),
        pytest.param(SOUND.replace("0 3 * * *", "0 33 * * *"), 9, "0 33", id="schedule"),
        pytest.param(b"# \xff airflow DAG\n" + SOUND.encode(), 1, "UTF-8", id="not UTF-8"),
        pytest.param(with_line("EmptyOperator(task_id='x', doc_md=dag)"), LINES + 1, "doc_md", id="wrong type"),
        pytest.param(
            SOUND.replace("datetime.datetime(2026, 1, 1)", "datetime.datetime.now()"),
            None,
            "now",
            id="the clock",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(server: Sandbox, text: str, line: int | None, reason: str) -> None:
    outcome = refused(server, text)
    assert reason in outcome.reason
    if line is not None:
        assert outcome.line == line, outcome


def test_what_does_not_end_is_ended() -> None:
    texts = {
        "python.py": with_line("while True: pass"),
        "deaf.py": with_line("import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass"),
        "c.py": with_line("import itertools; sum(itertools.repeat(0))"),
    }
    with Sandbox(Limits(seconds=1), parallel=3) as running:
        outcomes = list(running.load([Candidate(name, text.encode()) for name, text in texts.items()]))
    late = "it was not loaded within 1 s"
    assert sorted(outcomes, key=lambda outcome: outcome.name) == [
        Refused("c.py", LINES + 1, f"{late}, and was killed"),
        Refused("deaf.py", LINES + 2, f"{late}, and was killed"),
        Refused("python.py", LINES + 1, late),
    ]


def test_what_is_deprecated_in_the_file_itself_is_reported(server: Sandbox) -> None:
    outcome = one(server, SOUND.replace("airflow.sdk import", "airflow.models.dag import"))
    assert isinstance(outcome, Loaded), outcome
    assert [line for line, _ in outcome.warnings] == [2]
    assert "airflow.sdk" in outcome.warnings[0][1]


@pytest.mark.parametrize("name", ["../x.py", "/x.py", "a/../../x.py", "", "x.zip"])
def test_a_name_that_leads_elsewhere_is_refused(server: Sandbox, name: str) -> None:
    assert isinstance(one(server, SOUND, name), Refused)


# --- what a file's process can't do. Each is tried with each layer alone, where the layer is meant to stop it.

ALL = isolation.probe()
LAYERS = {
    "all": ALL,
    "namespaces": Isolation(unshare=ALL.unshare),
    "landlock": Isolation(landlock=ALL.landlock),
    "seccomp": Isolation(seccomp=ALL.seccomp),
    "none": Isolation(),
}


@pytest.fixture(scope="module", params=LAYERS)
def layered(request: pytest.FixtureRequest):
    with Sandbox(LIMITS, layers=LAYERS[request.param]) as running:
        running.label = request.param
        yield running


# Straight to the C library: Python's audit hook does not see it.
NATIVE = "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True)\n"


def tell(expression: str) -> str:
    """A file that is refused with the value of an expression as its reason."""
    return with_line(NATIVE + f"raise ValueError('told: ' + str({expression}))")


def told(running: Sandbox, expression: str) -> str:
    return refused(running, tell(expression)).reason.rpartition("told: ")[2]


def test_pythons_own_calls_are_refused_in_words(layered: Sandbox, tmp_path: Path) -> None:
    calls = {
        "urlopen.py": ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:1/')", "no network"),
        "name.py": ("import socket; socket.getaddrinfo('example.org', 80)", "no network"),
        "process.py": ("import subprocess; subprocess.run(['true'])", "processes"),
        "fork.py": ("import os; os.fork()", "processes"),
        "kill.py": ("import os; os.kill(os.getppid(), 15)", "processes"),
        "write.py": (f"open({str(tmp_path / 'x')!r}, 'w')", "can't write"),
    }
    candidates = [Candidate(name, with_line(text).encode()) for name, (text, _) in calls.items()]
    for outcome in layered.load(candidates):
        assert isinstance(outcome, Refused), outcome
        assert outcome.line == LINES + 1
        assert calls[outcome.name][1] in outcome.reason or "not permitted" in outcome.reason, outcome
    assert list(tmp_path.iterdir()) == []


def test_its_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SECRET", "hush")
    with Sandbox(LIMITS) as fresh:
        environment = told(fresh, "dict(os.environ)")
    assert "hush" not in environment
    assert "AIRFLOW_CONN_" not in environment
    assert "PATH" in environment


def test_no_socket(layered: Sandbox) -> None:
    if layered.label == "all" or layered.label == "seccomp":
        assert told(layered, "libc.socket(2, 1, 0)") == "-1"
        assert told(layered, "libc.socket(1, 1, 0)") == "-1"


@pytest.mark.loopback
def test_no_connection(layered: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        address = f"(2).to_bytes(2, sys.byteorder) + ({port}).to_bytes(2, 'big') + bytes((127, 0, 0, 1)) + bytes(8)"
        answer = told(layered, f"libc.connect(libc.socket(2, 1, 0), {address}, 16)")
    assert answer == ("0" if layered.label == "none" else "-1"), (
        "native code connects where no layer is, and only there"
    )


def test_no_writing(layered: Sandbox, tmp_path: Path) -> None:
    if layered.label in {"seccomp", "none"}:
        return
    target = tmp_path / "written"
    target.touch()
    assert told(layered, f"libc.open({bytes(target)!r}, 1)") == "-1"
    assert told(layered, f"libc.open({bytes(tmp_path / 'new')!r}, 0o101, 0o600)") == "-1"


def test_its_temporary_folder_can_be_written(layered: Sandbox) -> None:
    assert told(layered, "open('x', 'w').write('1234')") == "4"


def test_no_sight_of_other_processes(layered: Sandbox) -> None:
    if layered.label in {"seccomp", "none"}:
        return
    assert told(layered, f"libc.open(b'/proc/{os.getpid()}/environ', 0)") == "-1"


def test_no_signal_to_others(layered: Sandbox) -> None:
    if layered.label == "none":
        return
    assert told(layered, f"libc.kill({os.getpid()}, 0)") == "-1"


def test_no_further_process(layered: Sandbox) -> None:
    if layered.label in {"all", "seccomp"}:
        assert told(layered, "libc.fork()") == "-1"


def test_nothing_is_left_behind(layered: Sandbox) -> None:
    """A grandchild that detached itself ends with its file, where there are namespaces; else no such thing can start."""
    if layered.label in {"landlock", "none"}:
        return
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    one(layered, with_line(NATIVE + "if libc.fork() == 0:\n    libc.setsid()\n    libc.sleep(30)"))
    one(layered, SOUND)
    left = {process.pid for process in psutil.Process().children(recursive=True)} - before
    assert not left


def test_no_privileges(layered: Sandbox) -> None:
    """What root may: mount, make devices, change the owner of a file. Not even in a user namespace."""
    assert told(layered, "libc.mount(b'none', b'/proc', b'tmpfs', 0, None)") == "-1"
    assert told(layered, "libc.mknod(b'device', 0o20600, 259)") == "-1"


def test_files_outside_can_be_read_only_where_named(server: Sandbox, tmp_path: Path) -> None:
    secret = Path.home() / ".cache"
    assert told(server, f"libc.open({bytes(secret)!r}, 0)") == "-1"


def test_killing_itself_ends_nothing_else(server: Sandbox) -> None:
    assert isinstance(
        one(server, with_line("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")), Loaded | Refused
    )
    assert isinstance(
        one(server, with_line("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")), Loaded | Refused
    )
    assert isinstance(one(server, SOUND), Loaded)


def test_killing_itself_is_told_without_namespaces() -> None:
    with Sandbox(LIMITS, layers=Isolation()) as running:
        outcome = refused(running, with_line("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
        assert outcome.line == LINES + 1
        assert "killed" in outcome.reason
        outcome = refused(running, with_line("import os; os.abort()"))
        assert (outcome.line, outcome.reason) == (LINES + 1, "its process was ended by SIGABRT")
        assert isinstance(one(running, SOUND), Loaded)


@pytest.mark.parametrize(
    "text",
    [
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
        "import atexit, time\natexit.register(time.sleep, 60)",
        "import os\nos.write(1, b'x' * 10_000_000)\nos.write(2, b'y' * 10_000_000)\nprint('z' * 10_000_000)",
        "import sys\nsys.stdin.read()",
        "import os\nopen('big', 'wb').write(bytes(15_000_000))",
    ],
    ids=["thread", "atexit", "output", "input", "file"],
)
def test_tricks_that_change_nothing(server: Sandbox, text: str) -> None:
    outcome = one(server, with_line(text))
    assert isinstance(outcome, Loaded), outcome
    assert outcome.seconds < LIMITS.seconds


def test_a_process_can_speak_for_its_own_file_only(server: Sandbox) -> None:
    """It finds its pipe, or any other that is open, and writes what it likes."""
    forge = with_line(
        "import os\n"
        "for descriptor in range(3, 64):\n"
        "    try:\n"
        '        os.write(descriptor, b\'{"line": 1, "reason": "forged"}\')\n'
        "    except OSError:\n"
        "        pass\n"
        "os._exit(0)"
    )
    names = ["a.py", "b.py", "c.py", "d.py"]
    texts = [SOUND, forge, SOUND, forge]
    pairs = zip(names, texts, strict=True)
    outcomes = {outcome.name: outcome for outcome in server.load([Candidate(n, t.encode()) for n, t in pairs])}
    assert isinstance(outcomes["a.py"], Loaded)
    assert isinstance(outcomes["c.py"], Loaded)
    assert outcomes["b.py"] == Refused("b.py", 1, "forged")


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        "no json",
        "{}",
        "[" * 100_000,
        '{"line": "1", "reason": "x"}',
        '{"line": 1, "reason": 2}',
        '{"dags": [], "shapes": [], "warnings": []}',
        '{"dags": [{"dag": {"dag_id": "a"}}], "shapes": [{"dag_id": "b"}], "warnings": []}',
        '{"dags": [{}], "shapes": [{}], "warnings": []}',
        '{"dags": [1], "shapes": [{"dag_id": "b"}], "warnings": []}',
        '{"dags": [], "shapes": [{"dag_id": "b"}], "warnings": [1]}',
        '{"dags": [], "shapes": [{"dag_id": "b"}], "warnings": [["1", "x"]]}',
    ],
)
def test_an_answer_of_another_form_is_refused(server: Sandbox, answer: str) -> None:
    outcome = refused(server, with_line(f"import os\nos.write(3, {answer.encode()!r})\nos._exit(0)"))
    assert "its process answered" in outcome.reason


def test_an_answer_without_end_is_refused(server: Sandbox) -> None:
    outcome = refused(server, with_line("import os\nwhile True: os.write(3, bytes(1 << 20))"))
    assert "more than its process may" in outcome.reason


def test_modules_that_a_file_changed_are_whole_for_the_next(server: Sandbox) -> None:
    one(server, with_line("import airflow.sdk, sys\nairflow.sdk.DAG = None\nsys.modules.clear()"))
    assert isinstance(one(server, SOUND), Loaded)


def test_it_ends_with_the_importing_process(tmp_path: Path) -> None:
    """Also when that one is killed: the fork server sees its input end."""
    script = (
        "import sys\n"
        "from wtmo.imports.sandbox import *\n"
        "with Sandbox() as running:\n"
        f"    list(running.load([Candidate('a.py', {SOUND.encode()!r})]))\n"
        "    print(running._server.pid, flush=True)\n"
        f"    list(running.load([Candidate('b.py', {with_line('while True: pass').encode()!r})]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=sandbox.ROOT) as importing:
        assert importing.stdout is not None
        server = psutil.Process(int(importing.stdout.readline()))
        family = [server, *server.children(recursive=True)]
        end = time.monotonic() + 20
        importing.send_signal(signal.SIGKILL)
        importing.wait(20)
    gone, alive = psutil.wait_procs(family, timeout=end - time.monotonic())
    assert gone
    assert not alive


def test_a_fork_server_that_died_is_an_error_and_the_next_one_works() -> None:
    with Sandbox(LIMITS) as running:
        assert isinstance(one(running, SOUND), Loaded)
        assert running._server is not None
        running._server.kill()
        with pytest.raises(WtmoError, match="fork server ended"):
            one(running, SOUND)
        assert isinstance(one(running, SOUND), Loaded)


def test_what_is_enforced_is_said() -> None:
    everything = Isolation(unshare=("--user",), landlock=7, seccomp=True).enforced()
    assert all(how for _, how in everything)
    nothing = dict(Isolation().enforced())
    assert nothing["no network"] is None
    assert nothing["no writing outside the temporary folder"] is None
    assert nothing["time limit"] is not None
    assert [what for what, _ in everything] == list(nothing)
