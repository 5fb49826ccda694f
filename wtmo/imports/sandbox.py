"""Loads files of strangers, each in a process of its own that can do nothing but compute.

A fork server (:mod:`wtmo.imports.forkserver`) has Airflow and the shared modules in memory; a file costs a fork. What its
process gives up before the file runs is in :mod:`wtmo.imports.isolation`, and :func:`enforced` says which of it this machine
enforces. What comes back is JSON of bounded size, whose form is checked here; the file's own objects never get here::

    with Sandbox() as sandbox:
        for outcome in sandbox.load([Candidate("bqetl_sample.py", text)]):
            print(outcome)
"""

from __future__ import annotations

import base64
import json
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from utils.config import ROOT
from wtmo.errors import WtmoError
from wtmo.graph.model import File
from wtmo.imports import forkserver, isolation
from wtmo.imports.forkserver import read_message, write_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from wtmo.imports.isolation import Isolation

T = TypeVar("T")

BUNDLE = "bigquery-etl"
_START_SECONDS = 120.0
_ANSWER_SECONDS = 120.0
_STOP_SECONDS = 10.0
_SAID = "fork-server.log"
_SHARED = ("config", "operators", "plugins", "utils", "wtmo")
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/bin", "/opt/python"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/ssl", "/etc/pki"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf"),
)
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Candidate:
    """A file to load.

    :param name: its path in the bundle, relative, with ``/``.
    :param text: its bytes.
    """

    name: str
    text: bytes


@dataclass(frozen=True)
class Limits:
    """What one file may use.

    :param seconds: until it must be loaded. Default: 30.
    :param memory: bytes beyond what the loaded Airflow takes. Default: 1 GiB.
    """

    seconds: float = 30
    memory: int = 1 << 30


@dataclass(frozen=True)
class Loaded:
    """A file that is sound.

    :param dag_ids: its DAGs, sorted.
    :param dags: their serialized form, as Airflow stores it, with the file's name as ``fileloc``; one for each of ``dag_ids``.
        Empty where the file was recorded, not loaded.
    :param seconds: wall time.
    :param memory: bytes of the pages of memory that its process wrote, or read first.
    :param shapes: what :func:`wtmo.imports.compare.compare` compares; one for each of ``dag_ids``.
    :param warnings: lines of the file that use what is deprecated, and Python's or Airflow's words.
    """

    name: str
    dag_ids: tuple[str, ...]
    dags: tuple[dict[str, Any], ...]
    seconds: float
    memory: int
    shapes: tuple[dict[str, Any], ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Refused:
    """A file that is not.

    :param line: line of the file, where one can be told.
    :param reason: what is wrong, without the line.
    :param kind: ``late``, ``memory``, ``died`` where its process did not end by itself, else ``other``.
    """

    name: str
    line: int | None
    reason: str
    kind: str = field(default="other", compare=False)


@dataclass(frozen=True)
class Place:
    """A file that is described where it lies.

    :param bundle: the bundle that it belongs to.
    :param root: the bundle's folder, one of those that the sandbox was made for.
    :param name: its path below the root, with ``/``.
    """

    bundle: str
    root: Path
    name: str


@dataclass(frozen=True)
class Described:
    """What came of describing a file, with what the sandbox itself knows of it."""

    place: Place
    file: File


def enforced() -> list[tuple[str, str | None]]:
    """What this machine enforces on a file's process, and how; None: nothing but Python's audit hook."""
    return _probed().enforced()


@cache
def _probed() -> Isolation:
    return isolation.probe()


@dataclass
class _Job:
    candidate: Candidate
    what: str
    traced: bool = False
    place: Place | None = None
    date: str = ""


@dataclass
class _Answer:
    """What the fork server says of a process. ``result`` is the process's own word."""

    code: int
    late: bool
    too_much: bool
    seconds: float
    memory: int
    said: str
    result: str
    number: int = field(default=0)


class Sandbox:
    """Loads files. The fork server starts with the first one and ends with the ``with`` block.

    :param limits: what one file may use.
    :param parallel: how many are loaded at once. Default: 2.
    :param bundle: name of the bundle that will serve the files.
    :param layers: what keeps a file's process in. Default: all that this machine has.
    :param roots: folders of files to describe; they can be read. Default: none, nothing is described.
    :param code: the tree whose ``operators``, ``utils``, ``config`` and ``plugins`` the files get; ``wtmo`` is this one. Default: this one.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        parallel: int = 2,
        bundle: str = BUNDLE,
        layers: Isolation | None = None,
        roots: Sequence[Path] = (),
        code: Path = ROOT,
    ) -> None:
        self.limits = limits or Limits()
        self.parallel = max(1, parallel)
        self.bundle = bundle
        self.isolation = _probed() if layers is None else layers
        self.roots = [root.resolve() for root in roots]
        self.code = code.resolve()
        self._server: subprocess.Popen[bytes] | None = None
        self._home: Path | None = None
        self._number = 0
        # A file and an outcome are longer than a pipe is: who writes one must not keep the other from being read.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sandbox")
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the fork server and all that it loads."""
        server, self._server = self._server, None
        if server is not None:
            if self._written is not None and not self._written.done():
                server.kill()
                self._written.exception()
            _pipe(server.stdin).close()
            _pipe(server.stdout).close()
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        home, self._home = self._home, None
        if home is not None:
            shutil.rmtree(home, ignore_errors=True)

    def load(
        self, candidates: Sequence[Candidate], report: Callable[[Loaded | Refused], None] | None = None
    ) -> Iterator[Loaded | Refused]:
        """Load files by Airflow's own machinery, under the cluster policy, and serialize them.

        :param report: called with each outcome, for progress.
        :returns: one outcome a file, in the order in which they end.
        :raises WtmoError: the sandbox itself does not work.
        """
        for _, outcome in self._run([_Job(candidate, "load") for candidate in candidates], _judge):
            if report is not None:
                report(outcome)
            yield outcome

    def describe(self, places: Sequence[Place], date: str) -> Iterator[Described]:
        """Load files where they lie and tell all about their DAGs, without the organisation's rules for a whole DAG.

        :param date: ``YYYY-MM-DD``, for which dates are worked out.
        :returns: one a file, in the order in which they end; what can't be loaded has ``refused``.
        :raises WtmoError: the sandbox itself does not work.
        """
        jobs = [_Job(Candidate(place.name, b""), "describe", place=place, date=date) for place in places]
        for job, outcome in self._run(jobs, _read_file):
            place = job.place
            if place is None:
                raise RuntimeError("a job to describe has no place")
            if isinstance(outcome, Refused):
                refused = File(
                    place.bundle, place.name, refused=outcome.reason, refused_kind=outcome.kind, line=outcome.line
                )
                yield Described(place, refused)
            else:
                yield Described(place, replace(outcome, bundle=place.bundle, name=place.name))

    def record(self, candidates: Sequence[Candidate]) -> Iterator[Loaded | Refused]:
        """Run files for Airflow 2 against the recorder (:mod:`wtmo.imports.airflow2`): only their shapes come back.

        :raises WtmoError: the sandbox itself does not work.
        """
        for _, outcome in self._run([_Job(candidate, "record") for candidate in candidates], _judge):
            yield outcome

    def _run(
        self, wanted: Sequence[_Job], judge: Callable[[Candidate, _Answer, Limits], T | Refused]
    ) -> Iterator[tuple[_Job, T | Refused]]:
        jobs = deque(wanted)
        under_way: dict[int, _Job] = {}
        while jobs or under_way:
            while jobs and len(under_way) < self.parallel:
                job = jobs.popleft()
                if problem := _unsound_name(job.candidate.name):
                    yield job, Refused(job.candidate.name, None, problem)
                    continue
                under_way[self._send(job)] = job
            if not under_way:
                continue
            answer = self._receive()
            ended = under_way.pop(answer.number, None)
            if ended is None:
                continue  # of an earlier call that nobody waited for
            outcome = judge(ended.candidate, answer, self.limits)
            if isinstance(outcome, Refused) and outcome.line is None and _died(answer) and not ended.traced:
                # Once more, telling each line: the last one ended it.
                jobs.appendleft(replace(ended, traced=True))
                continue
            yield ended, outcome

    def _send(self, job: _Job) -> int:
        server = self._started()
        self._number += 1
        text = base64.b64encode(job.candidate.text).decode()
        message: dict[str, Any] = {"number": self._number, "name": job.candidate.name, "text": text, "what": job.what}
        if job.place is not None:
            message |= {"root": str(job.place.root.resolve()), "bundle": job.place.bundle, "date": job.date}
        # That the server is gone shows where its answer is read.
        self._written = self._writer.submit(write_message, _pipe(server.stdin), message | {"traced": job.traced})
        return self._number

    def _receive(self) -> _Answer:
        longest = self.limits.seconds + 2 * forkserver.PATIENCE + _ANSWER_SECONDS
        return _Answer(**self._message(longest, "an answer"))

    def _message(self, seconds: float, what: str) -> dict[str, Any]:
        server = self._started() if self._server is None else self._server
        stream = _pipe(server.stdout)
        if not select.select([stream], [], [], seconds)[0]:
            self.close()
            raise WtmoError(f"the sandbox gave no {what.split()[-1]} within {seconds:.0f} s", fix="try again")
        message = read_message(stream)
        if message is None:
            raise self._gone()
        return message

    def _gone(self) -> WtmoError:
        if self._server is not None:
            self._server.kill()
        said = ""
        if self._home is not None:
            said = (self._home / _SAID).read_text(errors="replace").strip()[-2000:]
        self.close()
        return WtmoError(f"the sandbox's fork server ended: {said or 'it left no word'}", fix="try again")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._server is not None:
            return self._server
        self._home = Path(tempfile.mkdtemp(prefix="wtmo-import-")).resolve()
        wrapper = ["unshare", *self.isolation.unshare] if self.isolation.unshare else []
        tree, more = ROOT, [*self.roots]
        if self.code != ROOT:
            tree = self._home / "code"
            more += [tree, *_linked(self.code, tree)]
        with (self._home / _SAID).open("wb") as said:
            self._server = subprocess.Popen(
                [*wrapper, sys.executable, "-m", forkserver.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=environment(self._home, self.limits, tree, self.code),
                cwd=tree,
                start_new_session=True,
                bufsize=0,
            )
        places = [*_places(), *more]
        configuration = {
            "isolation": {
                "unshare": list(self.isolation.unshare),
                "landlock": self.isolation.landlock,
                "seccomp": self.isolation.seccomp,
            },
            "home": str(self._home),
            "readable": [str(path) for path in places],
            "visible": [[str(path), str(path)] for path in places if path.exists()],
            "seconds": self.limits.seconds,
            "memory": self.limits.memory,
            "bundle": self.bundle,
            "describes": bool(self.roots),
        }
        try:
            write_message(_pipe(self._server.stdin), configuration)
        except BrokenPipeError:
            raise self._gone() from None
        answer = self._message(_START_SECONDS, "sign of life")
        if "error" in answer:
            self.close()
            raise WtmoError(f"the sandbox can't load Airflow: {answer['error'].strip()[-2000:]}", fix="make test")
        return self._server


def _linked(code: Path, folder: Path) -> list[Path]:
    """Make a folder with links to the shared modules of another tree, and to none of its ``wtmo``. Returns what they lead to."""
    folder.mkdir()
    found = []
    for name in _SHARED:
        if name != "wtmo" and (code / name).is_dir():
            (folder / name).symlink_to(code / name)
            found.append(code / name)
    return found


def environment(home: Path, limits: Limits, tree: Path = ROOT, code: Path = ROOT) -> dict[str, str]:
    """The environment of the fork server and of every file's process. Nothing of this process's own gets into it.

    :param tree: the folder that shared modules are imported from. Those that it does not have come from this project.
    :param code: the tree that the settings are of.
    """
    return {
        "PATH": _SEARCH_PATH,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPATH": ":".join(map(str, dict.fromkeys([tree, code / "config", ROOT]))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW_CONFIG": str(code / "config" / "airflow.cfg"),
        "WTMO_ROOT": str(code),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(code / "plugins"),
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": str(limits.seconds),
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS": "True",
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "100000",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody:@127.0.0.1:1/none",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__SECRETS__BACKENDS_ORDER": "environment_variable",
    }


def _places() -> list[Path]:
    """What a file's process can read where Landlock is: Python, its packages, the shared modules, the system's libraries."""
    own = [Path(sys.prefix), Path(sys.base_prefix), *(ROOT / name for name in _SHARED)]
    return [*dict.fromkeys([*own, *(path.resolve() for path in own)]), *map(Path, _SYSTEM)]


def _pipe(stream: Any) -> Any:
    if stream is None:
        raise RuntimeError("a process started with pipes has none")
    return stream


def _unsound_name(name: str) -> str | None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        return "its name leads out of the bundle's folder"
    return None if path.suffix == ".py" else "it is no Python file: its name does not end in .py"


def _died(answer: _Answer) -> bool:
    """Whether the process ended before it had said anything."""
    return not answer.result and not answer.late and not answer.too_much


def _judge(candidate: Candidate, answer: _Answer, limits: Limits) -> Loaded | Refused:
    """What a process's end means for its file."""
    result = _result(candidate, answer, limits)
    return result if isinstance(result, Refused) else _checked(candidate, result.value, answer)


def _read_file(candidate: Candidate, answer: _Answer, limits: Limits) -> File | Refused:
    """What a process told of its file, whose form is checked."""
    result = _result(candidate, answer, limits)
    if isinstance(result, Refused):
        return result
    try:
        return File.from_json({"bundle": "", "name": candidate.name, **result.value})
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
        return Refused(
            candidate.name, None, "its process answered with something that has not the form of a file", "died"
        )


@dataclass
class _Value:
    """What a process said, as JSON."""

    value: Any


def _result(candidate: Candidate, answer: _Answer, limits: Limits) -> _Value | Refused:
    line, refused = _last_line(candidate.name, answer.said), partial(Refused, candidate.name)
    if answer.late:
        return refused(line, f"it was not loaded within {limits.seconds:g} s, and was killed", "late")
    if answer.too_much:
        return refused(line, "it wrote more than its process may", "memory")
    if answer.code == -signal.SIGXCPU or answer.code == -signal.SIGKILL:
        most = f"{limits.memory // isolation.MIB} MiB"
        return refused(line, f"its process was killed: more than {most} of memory, or by itself", "memory")
    if answer.code < 0:
        return refused(line, f"its process was ended by {signal.Signals(-answer.code).name}", "died")
    if answer.code > 0:
        return refused(line, f"it ended its process with exit code {answer.code}: {_end(answer.said)}", "died")
    try:
        return _Value(json.loads(answer.result))
    except (ValueError, RecursionError):
        if not answer.result:
            return refused(line, "it ended its process with exit code 0", "died")
        return refused(line, "its process answered with something that is no JSON", "died")


def _checked(candidate: Candidate, result: Any, answer: _Answer) -> Loaded | Refused:
    """The outcome, whose form is checked: a hostile file can have written anything."""
    malformed = Refused(candidate.name, None, "its process answered with something that has not the form of an outcome")
    if not isinstance(result, dict):
        return malformed
    if set(result) == {"line", "reason"}:
        line, reason = result["line"], result["reason"]
        if not (line is None or type(line) is int) or not isinstance(reason, str):
            return malformed
        return Refused(candidate.name, line, _printable(reason))
    if set(result) != {"dags", "shapes", "warnings"}:
        return malformed
    dags, shapes, said = result["dags"], result["shapes"], result["warnings"]
    if not (_are_dicts(dags) and _are_dicts(shapes) and shapes and isinstance(said, list)):
        return malformed
    ids = [shape.get("dag_id") for shape in shapes]
    stored = [dag["dag"].get("dag_id") if isinstance(dag.get("dag"), dict) else None for dag in dags]
    if not all(isinstance(name, str) for name in ids) or (dags and stored != ids):
        return malformed
    if not all(
        isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is int and isinstance(entry[1], str)
        for entry in said
    ):
        return malformed
    return Loaded(
        name=candidate.name,
        dag_ids=tuple(ids),
        dags=tuple(dags),
        seconds=answer.seconds,
        memory=answer.memory,
        shapes=tuple(shapes),
        warnings=tuple((line, _printable(text)) for line, text in said),
    )


def _are_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _last_line(name: str, said: str) -> int | None:
    found = re.findall(rf'File "[^"\n]*/{re.escape(name)}", line (\d+)', said)
    return int(found[-1]) if found else None


def _end(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if not line.lstrip().startswith("File ")]
    return _printable(lines[-1][:500]) if lines else "it left no word"
