"""ALR: who hears of a failure follows from the DAG's tags and its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils import policy
from utils.config import ALERT_ADDRESS
from utils.tags import Tag
from utils.teams import TEAMS
from wtmo.checks.routing import mail, owner, told_teams
from wtmo.checks.rule import of_dag, of_task, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding, Look


@rule(
    "ALR001",
    "The triage engineer of the day reads the alert address: what is not mailed there has not failed.",
    fix="Use default_args(...) without email=, or tag the DAG Tag.Triage.no_triage.",
    at_load=True,
)
def heard(look: Look) -> Iterator[Finding]:
    """Failures of every task of a DAG that is triaged are mailed to the alert address."""
    for dag in look.dags.values():
        for what, fix in policy.unheard(dag.tags, [mail(task) for task in dag.tasks]):
            yield of_dag(dag, what, fix=fix)


@rule(
    "ALR002",
    "Mail that asks nobody to act hides mail that does.",
    fix="Give default_args(triaged=False), or remove the tag Tag.Triage.no_triage.",
    at_load=True,
)
def not_triaged(look: Look) -> Iterator[Finding]:
    """Nothing of a DAG with ``triage/no_triage`` is mailed to the alert address."""
    for dag in look.dags.values():
        for what, fix in policy.overheard(dag.tags, [mail(task) for task in dag.tasks]):
            yield of_dag(dag, what, fix=fix)


@rule(
    "ALR003",
    "A DAG that is not triaged is its owner's business alone: the owner must hear of it.",
    fix="Give default_args(owner=<team>, triaged=False): the team's channel is told.",
)
def somebody_hears(look: Look) -> Iterator[Finding]:
    """Failures of a DAG with ``triage/no_triage`` are mailed to somebody or posted to a team's channel."""
    for dag in look.dags.values():
        if Tag.Triage.no_triage in dag.tags:
            silent = [task.task_id for task in dag.tasks if not mail(task).addresses and not told_teams(dag, task)]
            if silent:
                yield of_dag(dag, f"nobody hears of failures of {policy.some(silent)}")


@rule(
    "ALR004",
    "A team that is told of what another one owns does nothing about it.",
    fix="Give owner= of default_args alone: its channel and its address follow.",
)
def the_owner_hears(look: Look) -> Iterator[Finding]:
    """A failure of a hand-written DAG is posted to the channel of the team that owns the task, and to no other."""
    for dag, task in look.tasks():
        if look.is_own(dag):
            others = sorted(told_teams(dag, task) - {owner(task)})
            if others:
                yield of_task(dag, task, f"is owned by {owner(task)}, and its failures are told to {', '.join(others)}")


@rule(
    "ALR005",
    "Persons leave, and mail to them is read by nobody.",
    fix="Remove email=: default_args(owner=<team>) mails whom it must. A team's address is a line in utils/teams.py.",
)
def no_persons(look: Look) -> Iterator[Finding]:
    """A hand-written DAG mails failures to the alert address and to addresses of teams alone."""
    known = {ALERT_ADDRESS, *(team.alert_address for team in TEAMS.values())}
    for dag in look.dags.values():
        if look.is_own(dag):
            others = sorted({address for task in dag.tasks for address in policy.addresses(mail(task).email)} - known)
            if others:
                yield of_dag(dag, f"mails {', '.join(others)}, which is no team's address")
