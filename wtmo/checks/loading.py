"""LOD: files load, in time, with nothing touched; DAGs serialize, have an id of their own and are the same at each parse."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

from wtmo.checks.rule import Severity, of_dag, of_file, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding, Look

LONGEST_PARSE = 5.0
"""CPU seconds that loading a file may take, on top of what all files share. 202 files of production take 0.05 to 1.2."""

MAY_IMPORT = frozenset({"airflow", "fivetran_provider_async", "kubernetes", "operators", "pendulum", "utils"})
"""Packages that a DAG file may import, besides Python's own: loaded anyway by who parses it."""

_OTHER_RULES = {"cycle", "duplicate", "dynamic", "touched", "late", "memory", "serialize", "empty"}
_LIBRARY = {"asyncio", "ctypes", "http", "multiprocessing", "smtplib", "socket", "sqlite3", "subprocess", "urllib"}


def _refused(look: Look, *kinds: str) -> Iterator[Finding]:
    for file in look.inventory.files:
        if file.refused is not None and file.refused_kind in kinds:
            yield of_file(file, " ".join(file.refused.split()))


@rule("LOD001", "A file that does not load takes its DAGs out of service.", fix="Mend the file at this line.")
def loads(look: Look) -> Iterator[Finding]:
    """A file can be read and run: its syntax is Python's, what it imports exists, nothing in it raises."""
    for file in look.inventory.files:
        if file.refused is not None and file.refused_kind not in _OTHER_RULES:
            yield of_file(file, f"does not load: {' '.join(file.refused.split())}")


@rule("LOD002", "Tasks that wait for each other never run.", fix="Remove one of the dependencies.")
def cycle_in_dag(look: Look) -> Iterator[Finding]:
    """The tasks of a DAG do not wait for each other in a circle."""
    yield from _refused(look, "cycle")


@rule(
    "LOD003",
    "Of two DAGs or tasks with one id, Airflow serves one, and does not say which.",
    fix="Give one of them another id.",
)
def twice_in_file(look: Look) -> Iterator[Finding]:
    """No two DAGs of a file, and no two tasks of a DAG, have one id."""
    yield from _refused(look, "duplicate")


@rule("LOD004", "Two DAGs of one id replace each other at each parse.", fix="Give one of them another id.")
def twice(look: Look) -> Iterator[Finding]:
    """An id belongs to one DAG, in the files of all bundles."""
    for file in look.inventory.files:
        for dag in file.dags:
            if dag.dag_id in look.inventory.twice:
                others = [place for place in look.inventory.twice[dag.dag_id] if place != f"{file.bundle}:{file.name}"]
                yield of_dag(dag, f"the id {dag.dag_id!r} is also that of a DAG in {', '.join(others)}")


@rule(
    "LOD005",
    "A DAG that differs from parse to parse makes a new version each time, and its runs change under way.",
    fix="Take what changes out of the file: a template for dates ({{ ds }}), a start_date with a fixed day.",
)
def dynamic(look: Look) -> Iterator[Finding]:
    """A file gives the same DAGs at each parse: it reads no clock and no random number."""
    yield from _refused(look, "dynamic")


@rule(
    "LOD006",
    "A file is parsed every few minutes by each scheduler: what it asks for then, it asks for all day, and its failure is an outage.",
    fix="Ask when the task runs: in a template ({{ var.value.x }}, {{ conn.x }}) or in the operator.",
)
def touched(look: Look) -> Iterator[Finding]:
    """While a file is parsed it asks for no network, no database, no Variable and no Connection. It is run with them cut off."""
    yield from _refused(look, "touched")


@rule(
    "LOD007", "A file that is late or too large is not loaded at all.", fix="Take the work out of the top of the file."
)
def late(look: Look) -> Iterator[Finding]:
    """A file is loaded within Airflow's time limit and the memory of the one that parses it."""
    yield from _refused(look, "late", "memory")


@rule("LOD008", "Airflow runs what it has serialized, never the file.", fix="Replace the value that is told.")
def serializes(look: Look) -> Iterator[Finding]:
    """A DAG can be serialized and read back."""
    yield from _refused(look, "serialize")


@rule("LOD009", "A DAG file holds DAGs, and nothing else.", fix="Move what DAGs share to utils/, or remove the file.")
def empty(look: Look) -> Iterator[Finding]:
    """There is a DAG in each file."""
    yield from _refused(look, "empty")


@rule(
    "LOD010",
    "The dag-processor parses all files again and again: a slow one makes all others late.",
    fix="Take the work out of the top of the file, and heavy imports into the functions that need them.",
    severity=Severity.warning,
)
def slow(look: Look) -> Iterator[Finding]:
    """Loading a file takes at most 5 s of CPU time, on top of what all files share."""
    for file in look.inventory.files:
        if file.seconds > LONGEST_PARSE:
            yield of_file(file, f"takes {file.seconds:.1f} s to load, more than {LONGEST_PARSE:g}")


@rule(
    "LOD011",
    "What a DAG file imports, every process that parses it imports: seconds and megabytes, several hundred times a day.",
    fix="Import it in the function that needs it, or move the work to an operator or a pod.",
)
def imports(look: Look) -> Iterator[Finding]:
    """At its top a DAG file imports Airflow, this repository's operators and utils, pendulum, the Kubernetes client's models, and of
    Python's own modules none that talk to others. Imports in functions and for types are free.
    """
    for file in look.inventory.files:
        for line, module in _top_imports(look.text(file)):
            top = module.partition(".")[0]
            if top in _LIBRARY:
                yield of_file(file, f"imports {module}, which is for talking to others, at its top", line=line)
            elif top not in MAY_IMPORT and top not in sys.stdlib_module_names:
                yield of_file(file, f"imports {module} at its top", line=line)


def _top_imports(text: str) -> Iterator[tuple[int, str]]:
    """Line and module of the imports that run when the file does."""
    try:
        waiting: list[ast.AST] = [ast.parse(text)]
    except (SyntaxError, ValueError):
        return
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


@rule(
    "LOD012",
    "What is deprecated is gone in the next version.",
    fix="Use what the warning names.",
    severity=Severity.warning,
)
def deprecated(look: Look) -> Iterator[Finding]:
    """A file uses nothing that Airflow or Python warn of."""
    for file in look.inventory.files:
        for line, words in file.warnings:
            yield of_file(file, f"uses what is deprecated: {' '.join(words.split())}", line=line)


@rule(
    "LOD013",
    "Runs that wait for each other wait until their timeouts.",
    fix="Remove one of the sensors, or let it wait for the run before (wait_for(..., delta=...)).",
)
def cycle_of_dags(look: Look) -> Iterator[Finding]:
    """No task waits, through the sensors of whatever DAGs, for the same run of itself."""
    for cycle in look.graph.cycles():
        dag_id = min(node[0] for node in cycle)
        dag = look.dags.get(dag_id)
        if dag is not None:
            path = " -> ".join(".".join(node) for node in (*cycle, cycle[0]))
            yield of_dag(dag, f"waits for itself: {path}")
