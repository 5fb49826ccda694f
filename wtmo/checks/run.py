"""Runs the rules over an inventory. A rule that could not run is an error that names it, never a pass."""

from __future__ import annotations

import datetime as dt
import importlib
import pkgutil
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from utils.bqetl.checkout import Checkout
from utils.config import ROOT, QueryTasks
from wtmo import checks
from wtmo.checks import silence
from wtmo.checks.rule import IMPORTED_BUNDLE, OWN, RULES, Finding, Look, Rule, Severity
from wtmo.errors import WtmoError
from wtmo.imports.verdicts import no_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wtmo.checks.silence import Silence
    from wtmo.graph.inventory import Source
    from wtmo.graph.model import Inventory
    from wtmo.imports.verdicts import Report

COULD_NOT_RUN = "CHK001"

RULES[COULD_NOT_RUN] = Rule(
    COULD_NOT_RUN,
    "could_not_run",
    "What was not checked is not sound.",
    "Mend the rule: the message says where it failed.",
    "Every rule could be run. `wtmo check` ends with 2 where one could not.",
)


@dataclass(frozen=True)
class Result:
    """What came of a check.

    :param findings: what is wrong, sorted by place. Of the paths asked for, if any were.
    :param silenced: what would be, and the silence that covers it.
    :param ran: codes of the rules that were run.
    :param dags: how many DAGs were looked at.
    :param tasks: how many tasks.
    :param files: how many files.
    :param places: folder of each bundle's files as findings show it: relative to the repository where it is inside.
    """

    findings: tuple[Finding, ...]
    silenced: tuple[tuple[Finding, Silence], ...] = ()
    ran: tuple[str, ...] = ()
    dags: int = 0
    tasks: int = 0
    files: int = 0
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0: no errors; 1: errors; 2: a rule could not run."""
        if any(finding.code == COULD_NOT_RUN for finding in self.findings):
            return 2
        return int(any(finding.severity is Severity.error for finding in self.findings))

    def path(self, finding: Finding) -> str:
        """The file of a finding, from the repository's root where it is inside."""
        folder = self.places.get(finding.bundle, finding.bundle)
        return "/".join(part for part in (folder, finding.file) if part)


def rules() -> dict[str, Rule]:
    """Every rule, by its code: all modules of this package register theirs."""
    for module in pkgutil.iter_modules(checks.__path__, f"{checks.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(RULES.items()))


def check(
    inventory: Inventory,
    *,
    roots: Mapping[str, Path] | None = None,
    paths: Sequence[Path] = (),
    silences: Sequence[Silence] = (),
    silences_file: Path = silence.FILE,
    today: dt.date | None = None,
    checkout: Path | None = None,
    cache: Path | None = None,
    only: Iterable[Rule] | None = None,
    report: Report = no_report,
) -> Result:
    """Run the rules.

    :param inventory: all DAGs: edges need them.
    :param roots: folder of the files of each bundle.
    :param paths: files or folders to tell about. Default: all.
    :param today: on which silences are valid. Default: this day in UTC.
    :param checkout: of bigquery-etl, whose query files and schemas are known.
    :param cache: folder where answers about queries are kept. None: nowhere.
    :param only: rules to run. Default: all.
    :param report: told what goes on.
    :raises WtmoError: there is no DAG and no file that was refused, or none in the paths.
    """
    if not inventory.files:
        raise WtmoError("there is no DAG file: nothing was checked", fix="name the folder: wtmo check --dags FOLDER")
    roots = dict(roots or {})
    for bundle, root in roots.items():
        if all(file.bundle != bundle for file in inventory.files):
            raise WtmoError(
                f"there is no DAG file in {root}: nothing was checked", fix="name the folder that holds them"
            )
    look = Look(inventory, roots, checkout, cache, report)
    chosen = list(only) if only is not None else list(rules().values())
    by_rule = {rule.code: run(rule, look) for rule in chosen}
    found = [finding for of_rule in by_rule.values() for finding in of_rule]
    shown = _shown(silences_file)
    day = today or dt.datetime.now(dt.UTC).date()
    left, silent = silence.apply(found, silences, look, today=day, path=shown)
    places = {bundle: _shown(root) for bundle, root in roots.items()}
    result = Result(
        tuple(sorted(left, key=_order)),
        tuple(silent),
        tuple(code for code, of_rule in by_rule.items() if all(each.code == code for each in of_rule)),
        len(look.dags),
        sum(len(dag.tasks) for dag in look.dags.values()),
        len(inventory.files),
        places,
    )
    return _narrowed(result, look, paths) if paths else result


def run(rule: Rule, look: Look) -> list[Finding]:
    """What a rule finds, complete; where it fails, that."""
    if rule.check is None:
        return []
    try:
        return [
            replace(finding, code=rule.code, severity=rule.severity, fix=finding.fix or rule.fix)
            for finding in dict.fromkeys(rule.check(look))
        ]
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        at = _shown(Path(frame.filename))
        return [
            Finding(
                f"rule {rule.code} ({rule.name}) could not run: {type(error).__name__}: {error}",
                RULES[COULD_NOT_RUN].fix,
                "",
                at,
                frame.lineno,
                code=COULD_NOT_RUN,
            )
        ]


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _order(finding: Finding) -> tuple[str, str, int, str, str, str]:
    bundle = "" if finding.bundle == OWN else finding.bundle
    return (
        bundle, finding.file, finding.line or 0, finding.code, finding.dag_id or "", f"{finding.task_id}{finding.message}"
    )  # fmt: skip


def _narrowed(result: Result, look: Look, paths: Sequence[Path]) -> Result:
    """The result for some files alone. What could not run stays: it was to look at these too."""
    chosen = chosen_files(look.inventory, look.roots, paths)

    def told(finding: Finding) -> bool:
        return (finding.bundle, finding.file) in chosen or finding.code == COULD_NOT_RUN

    dags = [dag for dag in look.dags.values() if (dag.bundle, dag.file) in chosen]
    return replace(
        result,
        findings=tuple(finding for finding in result.findings if told(finding)),
        silenced=tuple(pair for pair in result.silenced if told(pair[0])),
        dags=len(dags),
        tasks=sum(len(dag.tasks) for dag in dags),
        files=len(chosen),
    )


def chosen_files(inventory: Inventory, roots: Mapping[str, Path], paths: Sequence[Path]) -> set[tuple[str, str]]:
    """Bundle and name of the files that paths name.

    :raises WtmoError: a path names none.
    """
    files = {
        (file.bundle, file.name): (roots[file.bundle] / file.name).resolve()
        for file in inventory.files
        if file.bundle in roots
    }
    found: set[tuple[str, str]] = set()
    for given in paths:
        wanted = given.resolve()
        named = {key for key, path in files.items() if path.is_relative_to(wanted)}
        if not named:
            raise WtmoError(
                f"{given} is no DAG file and no folder of them: nothing was checked",
                fix=f"name one below {' or '.join(_shown(root) for root in roots.values())}",
            )
        found |= named
    return found


def sources(dags: Path | None = None, imported: Path | None = None) -> list[Source]:
    """Where the DAGs are.

    :param dags: folder of hand-written ones. Default: this repository's.
    :param imported: folder of imported ones as served. Default: what `wtmo import` serves, if it does.
    :raises WtmoError: there is no such folder.
    """
    from wtmo.graph.inventory import Source, default_sources

    found = {source.bundle: source for source in default_sources()}
    for bundle, root in ((OWN, dags), (IMPORTED_BUNDLE, imported)):
        if root is not None:
            if not root.is_dir():
                raise WtmoError(f"there is no folder {root}: nothing was checked")
            found[bundle] = Source(bundle, root.resolve())
    return list(found.values())


def query_files(checkout: Path | None = None) -> Path | None:
    """The folder of bigquery-etl's query files. None: they are not at hand.

    :param checkout: as given. Default: :attr:`utils.config.QueryTasks.checkout`, if it is a folder.
    :raises WtmoError: what was given is none.
    """
    if checkout is not None:
        Checkout(checkout)
        return checkout.resolve()
    named = QueryTasks().checkout
    return Path(named).resolve() if named and Path(named).is_dir() else None
