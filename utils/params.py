"""Typed parameters of DAGs that people start by hand: what the form offers, and what it refuses.

Airflow checks every value against the parameter's JSON schema when a run is created, by the form or by the API. A default is
never the day of today: a DAG file that is different each time it is read makes a new version each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from utils import commands

if TYPE_CHECKING:
    from collections.abc import Sequence


def date_param(about: str) -> Param:
    """A day, ``YYYY-MM-DD``. It has no default: a run can't be started without it."""
    return Param(type="string", format="date", pattern=_whole(commands.DATE), description=about)


def text_param(about: str, *, pattern: str, default: str | None = None, optional: bool = False) -> Param:
    """A text that matches a pattern as a whole.

    :param pattern: see :mod:`utils.commands` for those of projects and tables.
    :param default: Default: none, a value must be given.
    :param optional: None is a value too, and the default where there is no other.
    """
    schema: dict[str, Any] = {"type": ["null", "string"] if optional else "string", "pattern": _whole(pattern)}
    if default is not None or optional:
        return Param(default, description=about, **schema)
    return Param(description=about, **schema)


def flag_param(about: str, *, default: bool = False) -> Param:
    """Yes or no."""
    return Param(default, type="boolean", description=about)


def number_param(about: str, *, default: int, minimum: int, maximum: int) -> Param:
    """A whole number within bounds, both included."""
    return Param(default, type="integer", minimum=minimum, maximum=maximum, description=about)


def choice_param(about: str, *, choices: Sequence[str], default: str) -> Param:
    """One of some texts."""
    return Param(default, type="string", enum=list(choices), description=about)


def list_param(about: str, *, pattern: str, default: Sequence[str] = (), at_least: int = 0) -> Param:
    """A list of texts that each match a pattern as a whole.

    :param at_least: how many there must be. With 1 or more and no default, a value must be given.
    """
    schema: dict[str, Any] = {
        "type": "array",
        "items": {"type": "string", "pattern": _whole(pattern)},
        "minItems": at_least,
    }
    if at_least > len(default):
        return Param(description=about, **schema)
    return Param(list(default), description=about, **schema)


def _whole(pattern: str) -> str:
    # Python's $ also matches before a line break at the end; JavaScript, by which the form checks, has no \\Z.
    return rf"^(?:{pattern})$(?!\n)"
