"""What a rule is, what it looks at and what it finds.

A rule is a plain function. Its decorator gives it a code, one line on why it is there, what to type, and a severity; its docstring is
its page (``docs/checks.md``)::

    @rule("SEN001", "A sensor of a DAG that is not there waits until its timeout.", fix="Name a DAG that exists.")
    def target(look: Look) -> Iterator[Finding]:
        \"\"\"The DAG that a sensor waits for exists.\"\"\"
        for dag, task in look.tasks():
            if task.waits and task.waits.of_dag not in look.dags:
                yield of_task(dag, task, f"waits for DAG {task.waits.of_dag!r}, which does not exist")

Rules are pure: they read the :class:`Look` alone. One that raises is a finding itself (:mod:`wtmo.checks.run`).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from utils.tags import impact_tier
from wtmo.imports.verdicts import no_report
from wtmo.local.imported import IMPORTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from wtmo.graph.graph import Graph
    from wtmo.graph.model import Dag, File, Inventory, Task
    from wtmo.imports.verdicts import Report

OWN = "telemetry-airflow"
"""The bundle of the hand-written DAGs."""

IMPORTED_BUNDLE = "bigquery-etl"
"""The bundle that serves the imported ones."""


class Severity(StrEnum):
    """What a finding does to the exit status: an error makes it 1, a warning leaves it."""

    error = "error"
    warning = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. Made by :func:`of_task`, :func:`of_dag`, :func:`of_file`; code and severity are the rule's.

    :param message: what is wrong, as a sentence without its subject's name and without a full stop at its end.
    :param fix: what to type. Default: the rule's.
    :param bundle: of the file. Empty: it is not about a file of a bundle.
    :param file: path below the bundle's root; without a bundle, below the repository's.
    :param line: of the file, from 1. None: not known.
    """

    message: str
    fix: str = ""
    bundle: str = ""
    file: str = ""
    line: int | None = None
    dag_id: str | None = None
    task_id: str | None = None
    code: str = ""
    severity: Severity = Severity.error


def of_task(dag: Dag, task: Task, message: str, *, fix: str = "") -> Finding:
    """A finding about a task, at the line where it is made."""
    line = task.line or dag.line
    return Finding(message, fix, dag.bundle, dag.file, line, dag.dag_id, task.task_id)


def of_dag(dag: Dag, message: str, *, fix: str = "") -> Finding:
    """A finding about a DAG, at the line where it is made."""
    return Finding(message, fix, dag.bundle, dag.file, dag.line, dag.dag_id)


def of_file(file: File, message: str, *, fix: str = "", line: int | None = None) -> Finding:
    """A finding about a file."""
    return Finding(message, fix, file.bundle, file.name, line or file.line)


@dataclass(frozen=True)
class Look:
    """What rules look at.

    :param inventory: all DAGs that are known, whatever PATH was named: edges need all of them.
    :param roots: folder of the files of each bundle, where there is one.
    :param checkout: of bigquery-etl, whose query files and schemas are at hand. None: they are not.
    :param cache: folder where answers about queries are kept. None: nowhere.
    :param report: told what goes on, by a rule that takes long.
    """

    inventory: Inventory
    roots: Mapping[str, Path] = field(default_factory=dict)
    checkout: Path | None = None
    cache: Path | None = None
    report: Report = no_report

    @cached_property
    def foreign(self) -> dict[str, tuple[str, frozenset[str]]]:
        """DAGs that are known to exist though the bundle that serves them is not at hand: schedule, and tasks that are waited for."""
        if IMPORTED_BUNDLE in self.bundles:
            return {}
        return {dag_id: (schedule, frozenset(tasks)) for dag_id, (schedule, tasks) in IMPORTED.items()}

    @cached_property
    def dags(self) -> dict[str, Dag]:
        """By id, sorted."""
        return self.inventory.dags

    @cached_property
    def graph(self) -> Graph:
        """Tasks and the edges between them, across DAGs. Built once."""
        from wtmo.graph.graph import Graph

        return Graph(self.inventory)

    @cached_property
    def bundles(self) -> frozenset[str]:
        """Those that are known. Where the imported one is not, its DAGs can't be told from DAGs that don't exist."""
        return frozenset({file.bundle for file in self.inventory.files})

    def tasks(self) -> Iterator[tuple[Dag, Task]]:
        """All tasks with their DAGs, and of a pod that is expanded all instances that are known."""
        for dag in self.dags.values():
            for task in dag.tasks:
                for each in (task, *task.instances):
                    yield dag, each

    def tier(self, dag: Dag) -> str | None:
        """``tier_1``, ``tier_2``, ``tier_3``; None: its tags name none."""
        return impact_tier(dag.tags)

    def is_own(self, dag: Dag) -> bool:
        """Whether it is written by hand in this repository, not imported."""
        return dag.bundle == OWN

    def text(self, file: File) -> str:
        """What stands in a file. Empty where it is not at hand."""
        path = self.roots[file.bundle] / file.name if file.bundle in self.roots else None
        return path.read_text(errors="replace") if path and path.is_file() else ""

    @cached_property
    def _refused(self) -> tuple[tuple[File, str], ...]:
        return tuple(
            (file, f"{file.name} {self.text(file)}") for file in self.inventory.files if file.refused is not None
        )

    def hidden(self, dag_id: str) -> File | None:
        """The file that was not loaded and that this DAG is probably in, as its text or its name says.

        Of such a DAG nobody can say that it does not exist, or that it has no such task: the refused file is finding enough.
        """
        names = {dag_id, dag_id.replace("-", "_")}
        return next((file for file, text in self._refused if any(name in text for name in names)), None)


@dataclass(frozen=True)
class Rule:
    """A rule, as its decorator registered it.

    :param code: letters of its family and a number, like ``SEN001``.
    :param name: the function's.
    :param page: the function's docstring.
    :param check: None: what it says is found elsewhere (about silences, and rules that could not run).
    :param reason: why it is there, in one line.
    :param fix: what to type.
    :param at_load: whether Airflow's cluster policy refuses such a DAG too, with the same text (:mod:`utils.policy`).
    """

    code: str
    name: str
    reason: str
    fix: str
    page: str
    severity: Severity = Severity.error
    check: Callable[[Look], Iterable[Finding]] | None = None
    at_load: bool = False


RULES: dict[str, Rule] = {}
"""Every registered rule by its code. All are there after :func:`wtmo.checks.run.rules`."""


def rule(
    code: str, reason: str, *, fix: str, severity: Severity = Severity.error, at_load: bool = False
) -> Callable[[Callable[[Look], Iterable[Finding]]], Callable[[Look], Iterable[Finding]]]:
    """Register a rule.

    :raises ValueError: the code is taken, or the function has no docstring, which is the rule's page.
    """

    def register(check: Callable[[Look], Iterable[Finding]]) -> Callable[[Look], Iterable[Finding]]:
        if code in RULES:
            raise ValueError(f"the code {code} is taken by {RULES[code].name}")
        page = inspect.getdoc(check)
        if not page:
            raise ValueError(f"rule {code} has no docstring: it is the rule's page")
        RULES[code] = Rule(code, check.__name__, reason, fix, page, severity, check, at_load)
        return check

    return register
