"""POL: a DAG has an owner, a tier, known tags, and default arguments that somebody reads."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from utils import policy
from utils.names import did_you_mean
from utils.teams import TEAMS
from wtmo.checks.routing import owner
from wtmo.checks.rule import Severity, of_dag, of_task, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding, Look

_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


@rule(
    "POL001",
    "The tier tells the triage engineer what to look at first; without one nobody looks.",
    fix="Give it tags=[Tag.ImpactTier.tier_3] (or 1, 2).",
    at_load=True,
)
def impact_tag(look: Look) -> Iterator[Finding]:
    """A DAG has exactly one tag of ``impact/tier_1`` to ``impact/tier_3``."""
    for dag in look.dags.values():
        for what, fix in policy.impact_tags(dag.tags):
            yield of_dag(dag, what, fix=fix)


@rule(
    "POL002",
    "Routing reads these tags: a misspelt one routes nothing.",
    fix="Use the Tag of utils/tags.py.",
    at_load=True,
)
def known_tags(look: Look) -> Iterator[Finding]:
    """Tags that begin like those of ``utils/tags.py`` are among them. Others are free."""
    for dag in look.dags.values():
        for what, fix in policy.unknown_tags(dag.tags):
            yield of_dag(dag, what, fix=fix)


@rule("POL003", "Nobody mends what nobody owns.", fix="Give the DAG default_args(owner=<team>).", at_load=True)
def has_owner(look: Look) -> Iterator[Finding]:
    """Every task has an owner, and it is not Airflow's default."""
    for dag, task in look.tasks():
        for what, fix in policy.nobody(task.task_id, owner(task)):
            yield of_task(dag, task, what, fix=fix)


@rule(
    "POL004",
    "A person leaves, and with them the answer to who mends a DAG.",
    fix="Give the DAG default_args(owner=<team>).",
)
def owner_is_a_team(look: Look) -> Iterator[Finding]:
    """The owners of a hand-written DAG are teams of ``utils/teams.py``."""
    for dag in look.dags.values():
        wrong = (
            {}
            if not look.is_own(dag)
            else {owner(task): task for task in reversed(dag.tasks) if owner(task) not in TEAMS}
        )
        for name, task in wrong.items():
            if not list(policy.nobody(task.task_id, name)):
                yield of_task(dag, task, f"is owned by {name!r}, which is no team", fix=did_you_mean(name, TEAMS))


@rule(
    "POL005",
    "Bugs of an imported DAG are assigned to its owner.",
    fix="Name an address in `owners` of the query's metadata.yaml or `owner` of dags.yaml of bigquery-etl, or a team of utils/teams.py.",
    severity=Severity.warning,
)
def owner_can_be_written_to(look: Look) -> Iterator[Finding]:
    """The owners of an imported DAG are addresses, as its generator writes them, or teams."""
    for dag in look.dags.values():
        if look.is_own(dag):
            continue
        tasks: dict[str, list[str]] = {}
        for task in dag.tasks:
            tasks.setdefault(owner(task), []).append(task.task_id)
        for name, owned in tasks.items():
            known = name in TEAMS or all(_ADDRESS.fullmatch(part.strip()) for part in name.split(","))
            if not known and not list(policy.nobody("", name)):
                yield of_dag(dag, f"{policy.some(owned)}: owned by {name!r}, which is no address and no team")


@rule(
    "POL006",
    "Airflow drops a default argument that it does not know in silence: `emails` never mailed anybody.",
    fix="Write it as Airflow does, or remove it.",
    at_load=True,
)
def known_default_args(look: Look) -> Iterator[Finding]:
    """Each key of ``default_args`` is a parameter of one of the DAG's tasks."""
    for dag in look.dags.values():
        for what, fix in policy.unknown_default_args(dag.unknown_default_args):
            yield of_dag(dag, what, fix=fix)


@rule("POL007", "On-call sees the dag_id and looks for the file.", fix="Rename the file after its DAG, - as _.")
def file_name(look: Look) -> Iterator[Finding]:
    """A hand-written file with one DAG is named after it. Files of families have a name of their own."""
    for file in look.inventory.files:
        if len(file.dags) == 1 and look.is_own(dag := file.dags[0]):
            expected = f"{dag.dag_id.replace('-', '_')}.py"
            if PurePath(file.name).name != expected:
                yield of_dag(dag, f"is in {PurePath(file.name).name}", fix=f"Rename the file to {expected}.")
