"""The catalogue of the hand-written DAGs, ``docs/DAGS.md``: made from the DAGs, nothing in it is written by hand.

The same DAGs give the same page, byte for byte.
"""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import ROOT
from utils.tags import Tag, impact_tier
from utils.teams import TEAMS
from wtmo.docs import images, schedules
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from wtmo.graph.model import Dag, Wait

PAGE = ROOT / "docs" / "DAGS.md"
FAILURE = "## When it fails"
LAYERS = {
    "collection": "Collection",
    "etl": "Tables and models",
    "observability": "Data quality",
    "bi": "Dashboards and reports",
    "reverse_etl": "Data that leaves the warehouse",
    "experimentation": "Experimentation",
    "governance": "Governance",
    "operations": "Operations of the platform",
}
"""The folders of ``dags/`` and what they hold."""

_TRIAGE = {
    Tag.Triage.no_triage: "not triaged: failures are the team's business alone",
    Tag.Triage.record_only: "failures are only written down",
    Tag.Triage.confidential: "bugs about it are confidential",
}
_HEAD = """\
# The DAGs of this repository

{count} DAGs in {files} files. Made by `make docs` from the DAGs themselves; `make test` fails when it is not what they say. Schedules are in UTC.
What waits for what is told of the DAGs of this repository alone: those that bigquery-etl generates wait for some of them too,
and Airflow's UI shows all.

"""
_IMAGES = """\
## Images of tier 1 that float

What runs in these can change without a change of this repository. To pin one, give it a `tag` in `utils/images.py`;
`wtmo images` lists all.

"""


def catalogue(dags: Mapping[str, Dag]) -> str:
    """The page.

    :param dags: the DAGs, by id.
    :raises WtmoError: a DAG has no page, or its page does not say what to do when it fails.
    """
    files = {dag_id: Path(dag.file) for dag_id, dag in dags.items()}
    ordered = sorted(dags.values(), key=lambda dag: (_rank(files[dag.dag_id]), files[dag.dag_id], dag.dag_id))
    parts = [_HEAD.format(count=len(dags), files=len(set(files.values())))]
    parts += ["| DAG | team | tier | schedule |\n|---|---|---|---|\n"]
    parts += [
        f"| {_link(dag_id, dags)} | {_team(dag)} | {_tier(dag)} | {schedules.words(dag)} |\n"
        for dag_id, dag in sorted(dags.items())
    ]
    for layer, of_layer in groupby(ordered, key=lambda dag: files[dag.dag_id].parts[0]):
        parts.append(f"\n## {LAYERS.get(layer, layer)}\n")
        told: dict[Path, str] = {}
        for dag in of_layer:
            file = files[dag.dag_id]
            parts.append(_block(dag, file, told.get(file), dags))
            told.setdefault(file, dag.dag_id)
    parts += ["\n", _IMAGES, *_floating(list(dags.values()))]
    return "".join(parts)


def write(dags: Mapping[str, Dag], *, page: Path = PAGE) -> tuple[Path, bool]:
    """Write the page. Returns its path, and whether it was another one before."""
    text = catalogue(dags)
    changed = not page.exists() or page.read_text() != text
    if changed:
        page.write_text(text)
    return page, changed


def _rank(file: Path) -> int:
    layers = list(LAYERS)
    return layers.index(file.parts[0]) if file.parts[0] in layers else len(layers)


def _block(dag: Dag, file: Path, sister: str | None, dags: Mapping[str, Dag]) -> str:
    """What the page says of one DAG.

    :param sister: an earlier DAG of the same file, whose page is the same one.
    """
    first, failure = page_of(dag)
    own = dag.dag_id
    waiting = {other for other, each in dags.items() for wait in _waits(each) if wait.of_dag == own}
    lines = [
        _waits_for(list(_waits(dag)), dags),
        _listed("Waited for by", waiting | {wait.of_dag for wait in _waits(dag, markers=True)}, dags),
        _listed("Starts", _starts(dag), dags),
        _listed("Started by", {other for other, each in dags.items() if own in _starts(each)}, dags),
    ]
    if sister and page_of(dags[sister]) == (first, failure):
        first, failure = "", f"as {_link(sister, dags)}."
    return "\n".join([
        "",
        f"### {dag.dag_id}",
        "",
        *([first, ""] if first else []),
        f"- {_team(dag)}, tier {_tier(dag)}, {schedules.words(dag)}. {_triage(dag)}",
        f"- File: [`dags/{file.as_posix()}`](../dags/{file.as_posix()})",
        *(f"- {line}" for line in lines if line),
        f"- When it fails: {_indented(failure)}",
        "",
    ])


def _waits(dag: Dag, *, markers: bool = False) -> Iterator[Wait]:
    """What a DAG's sensors wait for; or what its markers say that waits for it. DAGs of any repository."""
    for task in dag.tasks:
        if task.waits is not None and task.waits.of_dag and task.marker is markers:
            yield task.waits


def _starts(dag: Dag) -> set[str]:
    """The DAGs that a DAG starts."""
    return {task.starts for task in dag.tasks if task.starts}


def page_of(dag: Dag) -> tuple[str, str]:
    """The first line of a DAG's page, and what it says under ``When it fails``.

    :raises WtmoError: there is no page or no such heading.
    """
    doc = (dag.attributes.get("doc_md") or "").strip()
    match = re.search(rf"^{FAILURE}\s*\n(.*?)(?=^## |\Z)", doc, re.MULTILINE | re.DOTALL)
    if match is None or not match[1].strip():
        raise WtmoError(
            f"the page of DAG {dag.dag_id} does not say what to do when it fails (dags/{dag.file})",
            fix=f"write it in the file's docstring under {FAILURE!r}, and give the DAG doc_md=__doc__",
        )
    return doc.partition("\n")[0], match[1].strip()


def _indented(text: str) -> str:
    """A text as the rest of a list's entry."""
    return re.sub(r"\n(?=.)", "\n  ", text)


def _link(dag_id: str, dags: Collection[str]) -> str:
    # GitHub's anchors keep letters, digits, - and _.
    return f"[{dag_id}](#{dag_id.lower()})" if dag_id in dags else f"`{dag_id}`"


def _listed(what: str, dag_ids: Collection[str], dags: Collection[str]) -> str:
    return f"{what}: {', '.join(_link(dag_id, dags) for dag_id in sorted(dag_ids))}" if dag_ids else ""


def _waits_for(waits: Sequence[Wait], dags: Collection[str]) -> str:
    told = []
    groups: dict[tuple[str, bool, float], set[str]] = {}
    for wait in waits:
        tasks = wait.of_tasks or ((wait.of_group,) if wait.of_group else ())
        groups.setdefault((wait.of_dag, wait.delta is None, wait.delta or 0.0), set()).update(tasks)
    for (of_dag, differs, seconds), names in sorted(groups.items()):
        details = [f"`{name}`" for name in sorted(names)]
        if differs:
            details.append("not the same shift for each run")
        elif seconds:
            details.append(_shift(timedelta(seconds=seconds)))
        told.append(_link(of_dag, dags) + (f" ({', '.join(details)})" if details else ""))
    return f"Waits for: {'; '.join(told)}" if told else ""


def _shift(shift: timedelta) -> str:
    """``the run 4 h earlier``."""
    minutes = int(abs(shift).total_seconds()) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return f"the run {' '.join(parts)} {'earlier' if shift > timedelta() else 'later'}"


def _owners(dag: Dag) -> set[str]:
    return {str(task.attributes["owner"]) for task in dag.tasks}


def _team(dag: Dag) -> str:
    return ", ".join(sorted(_owners(dag)))


def _tier(dag: Dag) -> str:
    return (impact_tier(dag.tags) or "none").removeprefix("tier_")


def _triage(dag: Dag) -> str:
    told = [words for tag, words in _TRIAGE.items() if tag in dag.tags]
    if not {Tag.Triage.no_triage, Tag.Triage.record_only} & set(dag.tags):
        who = {TEAMS[owner].triage for owner in _owners(dag) if owner in TEAMS}
        told.insert(0, f"first looked at by {' and '.join(sorted(who))}")
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}."


def _floating(dags: Sequence[Dag]) -> list[str]:
    found = [use for use in images.uses(dags, tier=1) if use.floats and use.dags]
    if not found:
        return ["None.\n"]
    rows = [
        f"| `{use.image}` | {f'<{use.source}>' if use.source else 'not published'} | `{use.pin}` | {', '.join(use.dags)} |\n"
        for use in found
    ]
    return ["| image | code | runs | DAGs |\n|---|---|---|---|\n", *rows]
