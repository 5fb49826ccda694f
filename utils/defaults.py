"""The arguments that every task of a hand-written DAG starts from."""

from __future__ import annotations

import inspect
from datetime import timedelta
from functools import cache
from typing import Any

from airflow.sdk import BaseOperator

from utils.callbacks import TellTeam
from utils.config import ALERT_ADDRESS
from utils.names import did_you_mean
from utils.retries import FaultRetryPolicy
from utils.teams import Team, team

_NOT_DEFAULTS = {"self", "task_id", "dag", "task_group", "default_args", "kwargs"}


@cache
def _known_keys() -> frozenset[str]:
    # The parameters of Airflow's own BaseOperator, which a DAG file has imported anyway: one look at a signature.
    return frozenset(inspect.signature(BaseOperator.__init__).parameters) - _NOT_DEFAULTS


def default_args(*, owner: str, triaged: bool = True, **differing: Any) -> dict[str, Any]:
    """``default_args`` of a DAG: two retries half an hour apart, and alerts to who looks at failures.

    What would only fail again (bad SQL, access denied) is not retried, what passes soon (a rate limit) is sooner:
    :mod:`utils.retries`.

    Airflow takes any key in silence, and a misspelt one does nothing. Here it is an error.

    :param owner: the team that owns the DAG, one of :data:`utils.teams.TEAMS`. Never a person.
    :param triaged: mail retries and failures to the platform's alert address, and the team's own if it has one. False, for
        a DAG with ``Tag.Triage.no_triage``: to the team's own alone, and failures are posted to the team's channel.
    :param differing: what this DAG wants otherwise, any parameter that all operators have (``BaseOperator``).
    :raises ValueError: an owner that is not a team; the message lists the near ones.
    :raises TypeError: a key that Airflow doesn't know; the message lists the near ones.
    """
    for key in differing:
        if key not in _known_keys():
            raise TypeError(
                f"Airflow knows no default argument {key!r}. {did_you_mean(key, _known_keys())} "
                "A parameter of one kind of operator is given to the tasks themselves."
            )
    return {
        "owner": owner,
        **(_mail(team(owner)) if triaged else _no_triage(team(owner))),
        "retries": 2,
        "retry_delay": timedelta(minutes=30),
        "retry_policy": FaultRetryPolicy(),
    } | differing


def _mail(owner: Team) -> dict[str, Any]:
    addresses = list(dict.fromkeys((ALERT_ADDRESS, owner.alert_address)))
    return {"email": addresses, "email_on_failure": True, "email_on_retry": True}


def _no_triage(owner: Team) -> dict[str, Any]:
    own = [] if owner.alert_address == ALERT_ADDRESS else [owner.alert_address]
    return {
        "email": own,
        "email_on_failure": bool(own),
        "email_on_retry": False,
        "on_failure_callback": [TellTeam(owner.name)],
    }
