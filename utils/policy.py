"""The organisation's rules for DAGs, as pure functions: the cluster policy and CI call the same ones.

A rule returns the ways in which a DAG breaks it, each a sentence that says what to type. Nothing is raised here:
``config/airflow_local_settings.py`` turns a non-empty answer into an import error, CI into a failed test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from utils.config import ALERT_ADDRESS
from utils.names import did_you_mean
from utils.tags import KNOWN_TAGS, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import DAG, BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator

_FAMILIES = tuple(sorted({tag.split("/")[0] + "/" for tag in KNOWN_TAGS}))
_NOBODY = {"", "airflow"}
_SHOWN = 3


def check_dag(dag: DAG) -> list[str]:
    """Every way in which a DAG and its tasks break the rules. Empty: it is sound."""
    tags = sorted(str(tag) for tag in dag.tags)
    problems = [*_check_tags(tags), *_check_alerts(dag, tags)]
    for task in dag.tasks:
        problems += check_task(task)
    return [f"DAG {dag.dag_id}: {problem}" for problem in problems]


def check_task(task: BaseOperator | MappedOperator) -> list[str]:
    """Every way in which one task breaks the rules that need no look at its DAG."""
    if (task.owner or "").strip() in _NOBODY:
        return [f"task {task.task_id} has no owner. Give the DAG default_args(owner=<team>)."]
    return []


def _check_tags(tags: list[str]) -> Iterable[str]:
    tiers = [tag for tag in tags if tag in set(Tag.ImpactTier)]
    if len(tiers) != 1:
        found = ", ".join(tiers) or "none"
        yield f"exactly one impact tag is required, found {found}. Give it tags=[Tag.ImpactTier.tier_3] (or 1, 2)."
    for tag in tags:
        if tag.startswith(_FAMILIES) and tag not in KNOWN_TAGS:
            yield f"unknown tag {tag!r}. {did_you_mean(tag, KNOWN_TAGS)}"


def _check_alerts(dag: DAG, tags: list[str]) -> Iterable[str]:
    if Tag.Triage.no_triage in tags:
        return
    silent = sorted(task.task_id for task in dag.tasks if ALERT_ADDRESS not in _addresses(task.email))
    if silent:
        more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        yield (
            f"failures of {', '.join(silent[:_SHOWN])}{more} are not mailed to the alert address. "
            "Use default_args(...) without email=, or tag the DAG Tag.Triage.no_triage."
        )


def _addresses(email: Any) -> set[str]:
    """Airflow takes one address, several in one string, or an iterable of them."""
    if not email:
        return set()
    if isinstance(email, str):
        email = email.replace(";", ",").split(",")
    return {address.strip() for address in email}
