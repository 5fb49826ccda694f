"""What a mapped task or group is expanded to, as far as its file says it. Runs in the sandbox only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions._internal.expandinput import MappedArgument
from airflow.sdk.definitions.xcom_arg import PlainXComArg, XComArg

from wtmo.graph.describe.context import xcom_pull
from wtmo.graph.describe.values import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk.definitions.mappedoperator import MappedOperator

MOST_INSTANCES = 50
"""Instances of a task that are told of: the first ones and the last."""
ANY = "expand_kwargs"
"""The name that stands for all that other tasks give to ``expand_kwargs``."""
_WORDS = "arguments"


def instances_of(task: MappedOperator) -> tuple[list[dict[str, Any]], set[str]]:
    """The arguments that each instance of a task gets, as the file has them; and the names of those of which only a run has the values.

    In place of the words of a command that only a run has stands one that says where they come from.
    """
    given: Any = task._get_specified_expand_input().value
    if isinstance(given, Mapping):
        lists = {name: _elements(value) for name, value in given.items() if not _is_of_a_run(value)}
        unknown = given.keys() - lists.keys() - {_WORDS}
        if _WORDS in given.keys() - lists.keys():
            lists[_WORDS] = [[_one_of(given[_WORDS])]]
        every = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    else:
        several = [given] if _is_of_a_run(given) else list(given)
        every = [dict(each) for each in several if not _is_of_a_run(each)]
        unknown = {ANY} if len(every) < len(several) else set()
    return every if len(every) <= MOST_INSTANCES else [*every[: MOST_INSTANCES - 1], every[-1]], unknown


@cache
def answer_for_groups() -> None:
    """What a mapped group hands to its tasks is what its first instance gets: a run, of which Airflow asks it, is not at hand."""
    patched: Any = MappedArgument
    patched.resolve = lambda argument, _: _sample_of(argument)


def _sample_of(argument: MappedArgument) -> Any:
    given: Any = argument._input.value
    name, nothing = argument._key, Unknown.of(argument._key)
    if isinstance(given, Mapping):
        value = given[name]
        return _one_of(value) if _is_of_a_run(value) else next(iter(_elements(value)), nothing)
    first = given if _is_of_a_run(given) else next(iter(given), {})
    return _one_of(first)[name] if _is_of_a_run(first) else first.get(name, nothing)


def _is_of_a_run(value: Any) -> bool:
    return isinstance(value, XComArg | MappedArgument)


def _elements(value: Mapping[Any, Any] | Sequence[Any]) -> list[Any]:
    return list(value.items() if isinstance(value, Mapping) else value)


def _one_of(value: Any) -> Unknown:
    """What stands for one of the values that a task gives, ``<ti.xcom_pull('a')[..]>``."""
    if isinstance(value, PlainXComArg):
        return Unknown.of(f"{xcom_pull(value.operator.task_id, value.key)[1:-1]}[..]")
    return Unknown.of(f"{type(value).__name__}[..]")
