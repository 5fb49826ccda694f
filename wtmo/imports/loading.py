"""What happens to a file in its process: Airflow's own loading, the rules, the serialized form. Runs in the sandbox only.

A file's outcome is a JSON object: ``{"line", "reason"}`` where it is refused, else ``{"dags", "shapes", "warnings"}``.
What :func:`describe` tells of one is the fields of :class:`wtmo.graph.model.File`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow import settings
from airflow.configuration import conf
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.exceptions import AirflowDagDuplicatedIdException
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

from wtmo.graph.describe.watch import Clock, Watch
from wtmo.imports.shape import shape

if TYPE_CHECKING:
    from types import FrameType

_LONGEST_REASON = 4000
_FOLDER = "bundle"
_TIMED_OUT = "DagBag import timeout"


class _DagBag(BundleDagBag):
    """Airflow's, but two DAGs of one id in one file are an error: Airflow silently serves one of them."""

    def bag_dag(self, dag: DAG) -> None:
        if self.dags.get(dag.dag_id, dag) is not dag:
            raise AirflowDagDuplicatedIdException(dag_id=dag.dag_id, incoming=dag.fileloc, existing=dag.fileloc)
        super().bag_dag(dag)


class _OpenDagBag(_DagBag):
    """Without the organisation's rules for a whole DAG: what breaks one is described all the same, and judged outside."""

    def bag_dag(self, dag: DAG) -> None:
        settings.dag_policy = _no_policy
        super().bag_dag(dag)


def _no_policy(dag: DAG) -> None:
    pass


def load(name: str, text: bytes, folder: Path, bundle: str, *, traced: bool = False) -> dict[str, Any]:
    """Load a file as production does, and serialize its DAGs.

    :param name: its path in the bundle.
    :param folder: an empty folder for it, this process's own.
    :param bundle: name of the bundle.
    :param traced: write each line that runs to standard error, for a file that ends its process.
    """
    if refused := _not_text(text):
        return refused
    root = folder / _FOLDER
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    _hear_warnings()
    stability = check_dag_file_stability(os.fspath(path))
    if errors := stability.get_error_format_dict(os.fspath(path), root):
        return _refusal(path, text, "\n".join(errors.values()))
    if traced:
        sys.settrace(_tracer(str(path)))
    try:
        bag = _DagBag(path, bundle_path=root, bundle_name=bundle, load_op_links=False)
    finally:
        sys.settrace(None)
    if bag.import_errors:
        return _refusal(path, text, "\n".join(bag.import_errors.values()))
    if not bag.dags:
        return {"line": None, "reason": "there is no DAG in it"}
    serialized, shapes = [], []
    for dag_id, dag in sorted(bag.dags.items()):
        try:
            data = json.loads(json.dumps(DagSerialization.to_dict(dag)))
            DagSerialization.from_dict(data)
            shapes.append(shape(dag))
        except Exception as error:
            return _refusal(path, text, f"DAG {dag_id!r} can't be serialized: {type(error).__name__}: {error}")
        # The path in this process's temporary folder says nothing to anyone.
        data["dag"]["fileloc"] = name
        serialized.append(data)
    return {"dags": serialized, "shapes": shapes, "warnings": _own_warnings(path, bag)}


def _not_text(text: bytes) -> dict[str, Any] | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return {"line": text.count(b"\n", 0, error.start) + 1, "reason": f"it is not UTF-8: {error.reason}"}
    return None


def _hear_warnings() -> None:
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.simplefilter("always", category)
    warnings.filterwarnings("ignore", message="Setting email")


_KINDS = {
    **dict.fromkeys(("SyntaxError", "IndentationError", "TabError"), "syntax"),
    **dict.fromkeys(("ImportError", "ModuleNotFoundError"), "import"),
    "AirflowDagCycleException": "cycle",
    **dict.fromkeys(("DuplicateTaskIdFound", "AirflowDagDuplicatedIdException", "TaskAlreadyInTaskGroup"), "duplicate"),
    **dict.fromkeys(("AirflowClusterPolicyViolation", "AirflowClusterPolicyError"), "policy"),
    "MemoryError": "memory",
    "AirflowTaskTimeout": "late",
    "TouchedError": "touched",
    "ForbiddenError": "touched",
    "SerializationError": "serialize",
}
"""What kind of refusal an error is, by its class."""


def describe(name: str, root: Path, bundle: str, date: str, *, traced: bool = False) -> dict[str, Any]:
    """Load a file where it lies, as production does, and tell all about its DAGs: the fields of :class:`wtmo.graph.model.File`.

    The rules for a whole DAG (``dag_policy``) are not applied.

    :param root: folder of the bundle.
    :param date: ``YYYY-MM-DD``, for which dates are worked out.
    """
    from wtmo.graph.describe.dags import describe_dags

    path = root / name
    text = path.read_bytes()
    if refused := _not_text(text):
        return _refused(refused, "syntax")
    _hear_warnings()
    stability = check_dag_file_stability(os.fspath(path))
    if errors := stability.get_error_format_dict(os.fspath(path), root):
        return _refused(_refusal(path, text, "\n".join(errors.values())), "dynamic")
    if traced:
        sys.settrace(_tracer(str(path)))
    clock = Clock()
    try:
        with Watch(path) as watch:
            bag = _OpenDagBag(path, bundle_path=root, bundle_name=bundle, load_op_links=False)
    finally:
        sys.settrace(None)
        facts: dict[str, Any] = {"seconds": clock.seconds, "imports": clock.imports}
    if watch.touched is not None:
        what, line = watch.touched
        reason = f"it uses {what} while it is parsed"
        return facts | {"refused": reason, "refused_kind": "touched", "line": line}
    if bag.import_errors:
        error = "\n".join(bag.import_errors.values())
        return facts | _refused(_refusal(path, text, error), _kind_of(error))
    if not bag.dags:
        return facts | {"refused": "there is no DAG in it", "refused_kind": "empty", "line": None}
    facts["warnings"] = _own_warnings(path, bag)
    return facts | describe_dags(bag.dags.values(), date, bundle, name, watch.lines)


def _refused(refusal: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"refused": refusal["reason"], "refused_kind": kind, "line": refusal["line"]}


def _kind_of(error: str) -> str:
    """By the class of the error, of a chain of errors the last one."""
    if _TIMED_OUT in error:
        return "late"
    names = re.findall(r"^(?:\w+\.)*(\w+)(?=:|$)", error, re.MULTILINE)
    return next((_KINDS[name] for name in reversed(names) if name in _KINDS), "other")


def record(name: str, text: bytes, folder: Path) -> dict[str, Any]:
    """Run a file for Airflow 2 against the recorder. The outcome has no ``dags``, only ``shapes``."""
    from wtmo.imports import airflow2

    path = folder / _FOLDER / name
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    try:
        shapes = airflow2.record(path)
    except airflow2.RecordError as error:
        return {"line": error.line, "reason": str(error)[:_LONGEST_REASON]}
    return {"dags": [], "shapes": shapes, "warnings": []}


def warm_up(bundle: str, *, describes: bool) -> None:
    """Load what Airflow only loads with its first file.

    :param describes: load what :func:`describe` needs, too.
    """
    from datetime import UTC, datetime

    from airflow.providers.standard.operators.empty import EmptyOperator

    warnings.simplefilter("ignore")
    with DAG("warm_up", schedule="@daily", start_date=datetime(2020, 1, 1, tzinfo=UTC)) as dag:
        EmptyOperator(task_id="task")
    DagSerialization.from_dict(DagSerialization.to_dict(dag))
    shape(dag)
    if describes:
        from wtmo.graph.describe.dags import describe_dag

        describe_dag(dag, datetime(2020, 1, 1, tzinfo=UTC), bundle, "warm_up.py", {})
    DAG.check_cycle(dag)
    _DagBag(os.devnull, bundle_path=Path("/"), bundle_name=bundle, load_op_links=False)


def _own_warnings(path: Path, bag: BundleDagBag) -> list[tuple[int, str]]:
    """What Airflow or Python deprecates, where it is the file itself that asks for it."""
    found = []
    for text in bag.captured_warnings.get(str(path), ()):
        if match := re.match(rf"{re.escape(str(path))}:(\d+): ([\w.]+): (.*)", text, re.DOTALL):
            found.append((int(match[1]), f"{match[2].rpartition('.')[2]}: {match[3]}"[:_LONGEST_REASON]))
    return sorted(set(found))


_ERROR = re.compile(r"^\w[\w.]*: .*|^\w[\w.]*$", re.MULTILINE | re.DOTALL)


def _refusal(path: Path, text: bytes, error: str) -> dict[str, Any]:
    """Airflow's words for an error, shortened to the error itself, and the line of the file that led to it."""
    lines = re.findall(rf'File "{re.escape(str(path))}", line (\d+)', error)
    reason = error.strip()
    if lines or reason.startswith("Traceback"):
        # Below the frames, which are indented; of a chain of errors the last one.
        frames = reason.rpartition("\n  File ")[2]
        match = _ERROR.search(frames, frames.find("\n") + 1)
        reason = match[0] if match else reason.splitlines()[-1]
    if _TIMED_OUT in reason:
        reason = f"it was not loaded within {conf.getfloat('core', 'dagbag_import_timeout'):g} s"
    reason = reason.replace(f"{path.parent}/", "").strip()[:_LONGEST_REASON]
    line = int(lines[-1]) if lines else _line_of(text, reason)
    return {"line": line, "reason": reason}


def _line_of(text: bytes, reason: str) -> int | None:
    """The line of the string that the reason quotes: a task's id before others, a long one before a short one, the last of equal ones."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    found = [
        (keyword.arg != "task_id", -len(keyword.value.value), -keyword.value.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in [*node.keywords, *(ast.keyword(arg=None, value=argument) for argument in node.args)]
        if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
        if re.search(rf"(?<![\w.-]){re.escape(keyword.value.value)}(?![\w-])", reason) and keyword.value.value
    ]
    return -min(found)[2] if found else None


def _tracer(path: str) -> Any:
    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            os.write(2, f'  File "{path}", line {frame.f_lineno}\n'.encode())
        return local

    def trace(frame: FrameType, _: str, __: Any) -> Any:
        return local if frame.f_code.co_filename == path else None

    return trace
