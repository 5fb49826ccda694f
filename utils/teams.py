"""The teams that own DAGs, declared once. A DAG names its team in ``default_args(owner=...)``, and its alerts follow.

Owners are teams: a person leaves, and with them the answer to who mends a DAG. Production's graphs name persons; here each
DAG belongs to the team of its subject. A team that gets an alert address or a channel of its own is one line here.
"""

from __future__ import annotations

from dataclasses import dataclass

from utils.config import ALERT_ADDRESS, ALERT_CHANNEL
from utils.names import did_you_mean

ENGINEER_OF_THE_DAY = "the triage engineer of the day"


@dataclass(frozen=True)
class Team:
    """A team that owns DAGs.

    :param name: the ``owner`` of its tasks.
    :param about: what its DAGs are about.
    :param alert_address: where mail about its failures goes. Never a person's. Default: the platform's alert address.
    :param slack_channel: where it reads what DAGs post. Default: the platform's channel for automation.
    :param triage: who looks at a failure first, as a phrase. Default: the triage engineer of the day.
    """

    name: str
    about: str
    alert_address: str = ALERT_ADDRESS
    slack_channel: str = ALERT_CHANNEL
    triage: str = ENGINEER_OF_THE_DAY


_ALL = (
    Team("data-engineering", "Ingestion, probes and schemas, deployment and backfills of bigquery-etl, this platform."),
    Team("data-governance", "Deletion requests and how long data is kept."),
    Team("data-tools", "Looker, GLAM and public dashboards."),
    Team("data-science", "Forecasts, models and anomalies of the key metrics."),
    Team("experimentation", "Experiments, from their enrollment to their analysis, and operational monitoring."),
    Team("firefox-quality", "Hangs, crashes, graphics, updates, web compatibility and Firefox CI."),
    Team("market-data", "What app stores and add-on stores of others say of our products."),
    Team("ads", "Exports to ad partners and privacy-preserving measurement.", triage="the team itself"),
    Team("search-and-suggest", "Merino and Firefox Suggest.", triage="the team itself"),
    Team("enterprise-applications", "People data and the integrations of the company's own applications."),
)

TEAMS: dict[str, Team] = {team.name: team for team in _ALL}
"""Every team, by its name."""


def team(name: str) -> Team:
    """The team of that name.

    :raises ValueError: no team has that name; the message lists the near ones.
    """
    try:
        return TEAMS[name]
    except KeyError:
        raise ValueError(
            f"No team is named {name!r}, and owners are teams, never persons. {did_you_mean(name, TEAMS)} "
            "A new one is a line in utils/teams.py."
        ) from None
