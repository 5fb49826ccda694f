"""The catalogue of the hand-written DAGs, ``docs/DAGS.md``: made from the DAGs, nothing in it is written by hand.

The same DAGs give the same page, byte for byte.
"""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config import ROOT
from utils.tags import Tag, impact_tier
from utils.teams import TEAMS
from wtmo.docs import images
from wtmo.errors import WtmoError
from wtmo.graph import edges
from wtmo.graph.loading import DAGS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.sdk import DAG

    from wtmo.graph.edges import Start, Wait

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


def catalogue(dags: Mapping[str, DAG], folder: Path) -> str:
    """The page.

    :param dags: the DAGs, by id.
    :param folder: the folder that they were loaded from.
    :raises WtmoError: a DAG has no page, or its page does not say what to do when it fails.
    """
    files = {dag_id: Path(dag.fileloc).relative_to(folder) for dag_id, dag in dags.items()}
    ordered = sorted(dags.values(), key=lambda dag: (_rank(files[dag.dag_id]), files[dag.dag_id], dag.dag_id))
    waits, starts, marked = edges.waits(ordered), edges.starts(ordered), edges.marked(ordered)
    parts = [_HEAD.format(count=len(dags), files=len(set(files.values())))]
    parts += ["| DAG | team | tier | schedule |\n|---|---|---|---|\n"]
    parts += [
        f"| {_link(dag_id, dags)} | {_team(dag)} | {_tier(dag)} | {_schedule(dag)} |\n"
        for dag_id, dag in sorted(dags.items())
    ]
    for layer, of_layer in groupby(ordered, key=lambda dag: files[dag.dag_id].parts[0]):
        parts.append(f"\n## {LAYERS.get(layer, layer)}\n")
        told: dict[Path, str] = {}
        for dag in of_layer:
            file = files[dag.dag_id]
            parts.append(_block(dag, file, told.get(file), dags, waits, starts, marked))
            told.setdefault(file, dag.dag_id)
    parts += ["\n", _IMAGES, *_floating(list(dags.values()))]
    return "".join(parts)


def write(dags: Mapping[str, DAG], *, folder: Path = DAGS, page: Path = PAGE) -> tuple[Path, bool]:
    """Write the page. Returns its path, and whether it was another one before."""
    text = catalogue(dags, folder)
    changed = not page.exists() or page.read_text() != text
    if changed:
        page.write_text(text)
    return page, changed


def _rank(file: Path) -> int:
    layers = list(LAYERS)
    return layers.index(file.parts[0]) if file.parts[0] in layers else len(layers)


def _block(
    dag: DAG,
    file: Path,
    sister: str | None,
    dags: Mapping[str, DAG],
    waits: Sequence[Wait],
    starts: Sequence[Start],
    marked: Mapping[str, set[str]],
) -> str:
    """What the page says of one DAG.

    :param sister: an earlier DAG of the same file, whose page is the same one.
    """
    first, failure = page_of(dag)
    waiting = {wait.dag for wait in waits if wait.of_dag == dag.dag_id} | marked.get(dag.dag_id, set())
    lines = [
        _waits_for([wait for wait in waits if wait.dag == dag.dag_id], dags),
        _listed("Waited for by", waiting, dags),
        _listed("Starts", {start.of_dag for start in starts if start.dag == dag.dag_id}, dags),
        _listed("Started by", {start.dag for start in starts if start.of_dag == dag.dag_id}, dags),
    ]
    if sister and page_of(dags[sister]) == (first, failure):
        first, failure = "", f"as {_link(sister, dags)}."
    return "\n".join([
        "",
        f"### {dag.dag_id}",
        "",
        *([first, ""] if first else []),
        f"- {_team(dag)}, tier {_tier(dag)}, {_schedule(dag)}. {_triage(dag)}",
        f"- File: [`dags/{file.as_posix()}`](../dags/{file.as_posix()})",
        *(f"- {line}" for line in lines if line),
        f"- When it fails: {_indented(failure)}",
        "",
    ])


def page_of(dag: DAG) -> tuple[str, str]:
    """The first line of a DAG's page, and what it says under ``When it fails``.

    :raises WtmoError: there is no page or no such heading.
    """
    doc = (dag.doc_md or "").strip()
    match = re.search(rf"^{FAILURE}\s*\n(.*?)(?=^## |\Z)", doc, re.MULTILINE | re.DOTALL)
    if match is None or not match[1].strip():
        raise WtmoError(
            f"the page of DAG {dag.dag_id} does not say what to do when it fails ({dag.fileloc})",
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
    for (of_dag, shift), group in groupby(
        sorted(waits, key=lambda wait: (wait.of_dag, wait.shift)), key=lambda wait: (wait.of_dag, wait.shift)
    ):
        tasks = sorted({task for wait in group for task in wait.of_tasks})
        details = [f"`{task}`" for task in tasks] + ([_shift(shift)] if shift else [])
        told.append(_link(of_dag, dags) + (f" ({', '.join(details)})" if details else ""))
    return f"Waits for: {'; '.join(told)}" if told else ""


def _shift(shift: timedelta) -> str:
    """``the run 4 h earlier``."""
    minutes = int(abs(shift).total_seconds()) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return f"the run {' '.join(parts)} {'earlier' if shift > timedelta() else 'later'}"


def _team(dag: DAG) -> str:
    return ", ".join(sorted({task.owner for task in dag.tasks}))


def _tier(dag: DAG) -> str:
    return (impact_tier(dag.tags) or "none").removeprefix("tier_")


def _schedule(dag: DAG) -> str:
    from airflow.serialization.encoders import coerce_to_core_timetable

    schedule: Any = dag.schedule
    if schedule is None:
        return "by hand"
    timetable = coerce_to_core_timetable(dag.timetable)
    if not isinstance(schedule, str):
        return timetable.summary
    words = timetable.description
    return f"`{schedule}` ({words[:1].lower()}{words[1:]})" if words else f"`{schedule}`"


def _triage(dag: DAG) -> str:
    told = [words for tag, words in _TRIAGE.items() if tag in dag.tags]
    if not {Tag.Triage.no_triage, Tag.Triage.record_only} & set(dag.tags):
        who = {TEAMS[task.owner].triage for task in dag.tasks if task.owner in TEAMS}
        told.insert(0, f"first looked at by {' and '.join(sorted(who))}")
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}."


def _floating(dags: Sequence[DAG]) -> list[str]:
    found = [use for use in images.uses(dags, tier=1) if use.floats and use.dags]
    if not found:
        return ["None.\n"]
    rows = [
        f"| `{use.image}` | {f'<{use.source}>' if use.source else 'not published'} | `{use.pin}` | {', '.join(use.dags)} |\n"
        for use in found
    ]
    return ["| image | code | runs | DAGs |\n|---|---|---|---|\n", *rows]
