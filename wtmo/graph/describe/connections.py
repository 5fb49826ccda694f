"""Airflow connections and variables that a task uses, by their names: none is looked up. Runs in the sandbox only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2
from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.mappedoperator import MappedOperator

from wtmo.graph.describe.templates import names_of, texts
from wtmo.graph.describe.values import CALLBACKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OF_OTHER_CLUSTERS = "kubernetes_conn_id"


def connections_of(task: Any, values: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """Ids of the Airflow connections that a task, its callbacks and its templates name."""
    found = _in_templates(names)
    given = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
    holders = [given]
    for name in CALLBACKS:
        called = getattr(task, name, None)
        for each in called if isinstance(called, list | tuple) else [called]:
            if isinstance(each, BaseNotifier):
                holders.append(vars(each))
                found |= _in_templates(
                    used
                    for field in each.template_fields
                    for _, text in texts(getattr(each, field, None), field, ())
                    for used in _names_or_none(text)
                )
    for holder in holders:
        for name, value in holder.items():
            if not name.endswith("conn_id") or (name == _OF_OTHER_CLUSTERS and "gcp_conn_id" in given):
                continue
            told = values.get(name, value) if holder is given else value
            if isinstance(told, str) and told:
                found.add(told)
    return tuple(sorted(found))


def _in_templates(names: Iterable[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("conn.")}


def _names_or_none(text: str) -> tuple[str, ...]:
    try:
        return names_of(text)
    except jinja2.TemplateSyntaxError:
        return ()


def variables_of(names: Iterable[str]) -> tuple[str, ...]:
    """Names of the Airflow variables that templates use."""
    found = {tuple(name.split(".")[1:3]) for name in names if name.startswith(("var.value.", "var.json."))}
    return tuple(sorted({name[1] for name in found if len(name) == 2 and name[1] != "get"}))
