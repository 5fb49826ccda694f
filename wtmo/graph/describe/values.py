"""Any value of a DAG or a task as JSON, and what stands for one that only a real run has. Runs in the sandbox only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import cache, partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import DAG, BaseNotifier, TaskGroup
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.definitions.xcom_arg import PlainXComArg, XComArg
from kubernetes.client import ApiClient, Configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLBACKS = tuple(f"on_{event}_callback" for event in ("execute", "failure", "retry", "skipped", "success"))
"""Attributes of a task that are functions, which Airflow calls on an event."""
_LONGEST_ERROR = 2000
_OF_JINJA = {"unsafe_callable", "alters_data", "jinja_pass_arg"}
"""What Jinja asks a value for before it calls it."""


class Unknown(str):
    """What only a real run has: the path that led to it, ``<ti.xcom_pull('a')>``. Attributes, items and calls lengthen the path."""

    __slots__ = ()

    @classmethod
    def of(cls, path: str) -> Unknown:
        """The one that a path leads to."""
        return cls(f"<{path}>")

    @property
    def _path(self) -> str:
        return self[1:-1] if self.startswith("<") else str(self)

    def __getattr__(self, name: str) -> Unknown:
        if name.startswith("__") or name in _OF_JINJA:
            raise AttributeError(name)
        return self.of(f"{self._path}.{name}")

    def __getitem__(self, key: Any) -> Any:
        return str.__getitem__(self, key) if isinstance(key, slice) else self.of(f"{self._path}[{key!r}]")

    def __iter__(self) -> Iterator[str]:
        return iter([self.of(f"{self._path}[..]")])

    def __call__(self, *arguments: Any, **keywords: Any) -> Unknown:
        """What a call of it would give."""
        told = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in keywords.items())]
        return self.of(f"{self._path}({', '.join(told)})")


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON. Templates stay as written, and an empty list stays one. Of what is no data, its name is told."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date | Path):
        return str(value)
    if depth > 12:
        return f"<{type(value).__name__}>"
    inner = partial(plain, depth=depth + 1)
    if isinstance(value, ParamsDict):
        return inner(dict(value.dump()))
    if isinstance(value, XComArg):
        return str(value) if isinstance(value, PlainXComArg) else f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return {str(key): inner(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [inner(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((inner(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    if hasattr(value, "openapi_types"):  # a model of the Kubernetes client
        return api_client().sanitize_for_serialization(value)
    return _named(value, inner)


def _named(value: Any, inner: Callable[[Any], Any]) -> Any:
    """What is told of an object: its class, and what it was made of where that is data."""
    if isinstance(value, BaseOperator | MappedOperator):
        return f"<task {value.task_id}>"
    if isinstance(value, DAG):
        return f"<DAG {value.dag_id}>"
    if isinstance(value, TaskGroup):
        return f"<task group {value.group_id}>"
    if isinstance(value, Secret | BaseNotifier):
        found = vars(value)
    elif isinstance(value, type):
        return name_of(value)
    elif is_dataclass(value):
        found = {each.name: getattr(value, each.name) for each in fields(value)}
    elif attrs.has(type(value)):
        found = {each.name: getattr(value, each.name, None) for each in attrs.fields(type(value))}
    else:
        return name_of(value)
    return {type(value).__name__: {name: inner(each) for name, each in found.items() if not name.startswith("_")}}


def name_of(value: Any) -> str:
    """``module.function``, or ``<module.Class>`` of an object. A module that is the DAG file goes by the file's name."""
    if isinstance(value, partial):
        return name_of(value.func)
    function = value if hasattr(value, "__qualname__") else type(value)
    module = str(getattr(function, "__module__", "")).removeprefix("unusual_prefix_")
    head, _, rest = module.partition("_")
    own = rest if len(head) == 40 else module  # Airflow's name of a DAG file's module: a digest, then the file's name
    name = ".".join(part for part in (own, function.__qualname__) if part)
    return name if function is value else f"<{name}>"


def attribute(name: str, value: Any) -> Any:
    """The value of an attribute: of a function that Airflow calls on an event, what it does in a line."""
    if name not in CALLBACKS:
        return plain(value)
    if isinstance(value, list | tuple):
        return [attribute(name, each) for each in value]
    return repr(value) if is_dataclass(value) else plain(value)


def utc(moment: datetime) -> str:
    """A moment in UTC, ISO 8601. One without a time zone is in UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def words(error: BaseException) -> str:
    """An error: its class and what it says, at most 2,000 characters."""
    said = str(getattr(error, "message", None) or error).strip()
    name = type(error).__name__
    return (f"{name}: {said}" if said else name)[:_LONGEST_ERROR]


@cache
def api_client() -> ApiClient:
    """What writes models of the Kubernetes client as JSON."""
    return ApiClient()


@cache
def share_configuration() -> None:
    """One configuration for all models of Kubernetes' client: one for each takes longer than all the rest of a pod."""
    shared = Configuration()
    for name, given in (("get_default_copy", classmethod(lambda _: shared)), ("__deepcopy__", lambda own, _: own)):
        setattr(Configuration, name, given)
