"""The organisation's rules for DAGs, as pure functions: the cluster policy and ``wtmo check`` call the same ones.

A rule returns the ways in which a DAG breaks it, each as what is wrong and what to type. Nothing is raised here:
``config/airflow_local_settings.py`` turns a non-empty answer of :func:`check_dag` into an import error, :mod:`wtmo.checks` each one
into a finding. The rules take plain values, since ``wtmo check`` has no DAG objects.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from utils.config import ALERT_ADDRESS
from utils.names import did_you_mean
from utils.tags import KNOWN_TAGS, Tag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from airflow.sdk import DAG, BaseOperator

_FAMILIES = tuple(sorted({tag.split("/")[0] + "/" for tag in KNOWN_TAGS}))
_NOBODY = {"", "airflow"}
_SHOWN = 3
_NOT_DEFAULTS = {"self", "task_id", "dag", "task_group", "default_args", "args", "kwargs"}


class Problem(NamedTuple):
    """What is wrong, without a full stop at its end, and what to type."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. {self.fix}"


@dataclass(frozen=True)
class Mail:
    """What a task says of mail.

    :param email: as Airflow takes it: one address, several in one string, or an iterable of them.
    :param on_failure: whether its failures are mailed.
    """

    task_id: str
    email: Any
    on_failure: bool

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses that failures are mailed to."""
        return addresses(self.email) if self.on_failure else frozenset()


def check_dag(dag: DAG) -> list[str]:
    """Every way in which a DAG and its tasks break the rules. Empty: it is sound."""
    tags = sorted(str(tag) for tag in dag.tags)
    mails = [Mail(task.task_id, task.email, bool(task.email_on_failure)) for task in dag.tasks]
    problems = [
        *impact_tags(tags),
        *unknown_tags(tags),
        *unheard(tags, mails),
        *overheard(tags, mails),
        *unknown_default_args(unknown_keys(dag)),
    ]
    for task in dag.tasks:
        problems += nobody(task.task_id, task.owner)
    return [f"DAG {dag.dag_id}: {problem}" for problem in problems]


def impact_tags(tags: Collection[str]) -> Iterator[Problem]:
    """Exactly one tag tells the tier."""
    tiers = [tag for tag in tags if tag in set(Tag.ImpactTier)]
    if len(tiers) != 1:
        found = ", ".join(tiers) or "none"
        yield Problem(
            f"exactly one impact tag is required, found {found}", "Give it tags=[Tag.ImpactTier.tier_3] (or 1, 2)."
        )


def unknown_tags(tags: Collection[str]) -> Iterator[Problem]:
    """Tags of the families that routing reads are known ones."""
    for tag in tags:
        if tag.startswith(_FAMILIES) and tag not in KNOWN_TAGS:
            yield Problem(f"unknown tag {tag!r}", did_you_mean(tag, KNOWN_TAGS))


def unheard(tags: Collection[str], mails: Iterable[Mail]) -> Iterator[Problem]:
    """Failures of a DAG that is triaged are mailed to the alert address."""
    if Tag.Triage.no_triage in tags:
        return
    silent = sorted(mail.task_id for mail in mails if ALERT_ADDRESS not in mail.addresses)
    if silent:
        yield Problem(
            f"failures of {some(silent)} are not mailed to the alert address",
            "Use default_args(...) without email=, or tag the DAG Tag.Triage.no_triage.",
        )


def overheard(tags: Collection[str], mails: Iterable[Mail]) -> Iterator[Problem]:
    """Nothing of a DAG that is not triaged is mailed to the alert address."""
    if Tag.Triage.no_triage not in tags:
        return
    loud = sorted(mail.task_id for mail in mails if ALERT_ADDRESS in addresses(mail.email))
    if loud:
        yield Problem(
            f"it has the tag {Tag.Triage.no_triage}, and {some(loud)} mail the alert address",
            "Give default_args(triaged=False), or remove the tag.",
        )


def nobody(task_id: str, owner: str | None) -> Iterator[Problem]:
    """A task has an owner."""
    if (owner or "").strip() in _NOBODY:
        yield Problem(f"task {task_id} has no owner", "Give the DAG default_args(owner=<team>).")


def unknown_default_args(unknown: Iterable[str]) -> Iterator[Problem]:
    """Every key of ``default_args`` is a parameter of a task.

    :param unknown: those that none takes (:func:`unknown_keys`).
    """
    for key in unknown:
        near = did_you_mean(key, _of_operators())
        hint = f"{near} " if near.startswith("Did you") else ""
        yield Problem(
            f"no task takes the default argument {key!r}, and Airflow drops it in silence",
            f"{hint}Remove it, or give it to the task that it is for.",
        )


def unknown_keys(dag: DAG) -> tuple[str, ...]:
    """The keys of a DAG's ``default_args`` that none of its tasks takes. Sorted.

    A DAG without tasks is judged by what all operators take.
    """
    keys = set(dag.default_args)
    if not keys:
        return ()
    keys -= _of_operators()
    for operator in {getattr(task, "operator_class", type(task)) for task in dag.tasks}:
        if keys:
            keys -= _parameters(operator)
    return tuple(sorted(keys))


def addresses(email: Any) -> frozenset[str]:
    """Airflow takes one address, several in one string, or an iterable of them."""
    if not email:
        return frozenset()
    if isinstance(email, str):
        email = email.replace(";", ",").split(",")
    return frozenset(address.strip() for address in email)


def some(names: Collection[str]) -> str:
    """The first names of many.

    >>> some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(list(names)[:_SHOWN])}{more}"


def _of_operators() -> frozenset[str]:
    from airflow.sdk import BaseOperator

    return _parameters(BaseOperator)


@cache
def _parameters(operator: type[BaseOperator]) -> frozenset[str]:
    """What a class of tasks and all its bases take by name."""
    found: set[str] = set()
    for base in operator.__mro__:
        if "__init__" in vars(base) and base is not object:
            found.update(inspect.signature(vars(base)["__init__"]).parameters)
    return frozenset(found - _NOT_DEFAULTS)
