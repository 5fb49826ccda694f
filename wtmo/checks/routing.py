"""Who hears of a DAG's failures, worked out from what its tasks say, and what its tags ask for: ``wtmo check --alerts``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.policy import Mail
from utils.tags import Tag, impact_tier
from utils.teams import ENGINEER_OF_THE_DAY, TEAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wtmo.graph.model import Dag, Task

_TELLS = re.compile(r"\bTellTeam\(owner='([^']*)'\)")


@dataclass(frozen=True)
class Routing:
    """What becomes of a failure of a DAG.

    :param tier: ``tier_1``, ``tier_2``, ``tier_3``, or None.
    :param owners: of its tasks. Sorted.
    :param mail_on_failure: addresses that the failure of any task is mailed to. Sorted.
    :param mail_on_retry: addresses that a retry is mailed to. Sorted.
    :param slack: channels that it is posted to. Sorted.
    :param triage: who looks at it first, as a phrase.
    """

    dag_id: str
    tier: str | None
    owners: tuple[str, ...]
    mail_on_failure: tuple[str, ...]
    mail_on_retry: tuple[str, ...]
    slack: tuple[str, ...]
    triage: str


def mail(task: Task) -> Mail:
    """What a task says of mail. Airflow mails failures unless told otherwise."""
    return Mail(task.task_id, task.attributes.get("email"), bool(task.attributes.get("email_on_failure", True)))


def told_teams(dag: Dag, task: Task) -> frozenset[str]:
    """The teams to whose channel a failure of a task is posted."""
    callbacks = (task.attributes.get("on_failure_callback"), dag.attributes.get("on_failure_callback"))
    return frozenset(name for text in _texts(callbacks) for name in _TELLS.findall(text))


def owner(task: Task) -> str:
    """The owner of a task."""
    return str(task.attributes.get("owner") or "")


def routing(dag: Dag) -> Routing:
    """What becomes of a failure of a DAG."""
    owners = sorted({owner(task) for task in dag.tasks})
    teams = sorted({team for task in dag.tasks for team in told_teams(dag, task)})
    on_failure = {address for task in dag.tasks for address in mail(task).addresses}
    on_retry = {
        address
        for task in dag.tasks
        if task.attributes.get("email_on_retry", True)
        for address in Mail(task.task_id, task.attributes.get("email"), True).addresses
    }
    return Routing(
        dag.dag_id,
        impact_tier(dag.tags),
        tuple(owners),
        tuple(sorted(on_failure)),
        tuple(sorted(on_retry)),
        tuple(sorted({TEAMS[team].slack_channel for team in teams if team in TEAMS})),
        _triage(dag.tags, owners),
    )


def _triage(tags: Iterable[str], owners: Iterable[str]) -> str:
    given = set(tags)
    if Tag.Triage.no_triage in given:
        return "not triaged: the owner alone"
    who = sorted({TEAMS[name].triage if name in TEAMS else ENGINEER_OF_THE_DAY for name in owners})
    said = " and ".join(who) or ENGINEER_OF_THE_DAY
    if Tag.Triage.record_only in given:
        said = f"written down by {said}, nobody acts"
    return f"{said}; bugs are confidential" if Tag.Triage.confidential in given else said


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
