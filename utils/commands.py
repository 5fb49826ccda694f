"""Commands of pods that are made when the task runs: for images that need a shell, with values of users in them.

A program gets a user's values as arguments of its own, ``arguments=["--table", "{{ params.table }}"]``: no shell reads them.
Where the image's command is a shell line, a value is put into it only when it matches a strict pattern, and quoted.

A shell never traces what it runs (``-x``): the trace would put expanded secrets into the log.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2
    from airflow.sdk import Context

PROJECT = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
"""The id of a Google Cloud project."""

TABLE = r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+"
"""``dataset.table``"""

QUALIFIED_TABLE = rf"{PROJECT}\.{TABLE}(?:\$[0-9]{{4,10}})?"
"""``project.dataset.table``, with or without a partition."""

SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]*"
"""The name of an experiment or of a project in Experimenter."""

DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
"""``YYYY-MM-DD``"""


def checked(value: object, pattern: str, what: str) -> str:
    """The value as text, if all of it matches.

    :param pattern: a regular expression for the whole value.
    :param what: what it is, for the message: ``project_id``.
    :raises AirflowFailException: it doesn't match. The task fails and is not retried: the value would be the same.
    """
    text = str(value)
    if re.fullmatch(pattern, text) is None:
        raise AirflowFailException(f"{what}={text!r} is not allowed: it must be of the form {pattern}")
    return text


def quoted(value: object, pattern: str, what: str) -> str:
    """The value as one word of a shell line, after :func:`checked`."""
    return shlex.quote(checked(value, pattern, what))


@dataclass(frozen=True)
class Late:
    """Words of a command that are put together when the task runs. Airflow calls what stands in a templated field.

    :param words: each one templated.
    """

    words: tuple[str, ...]

    def __call__(self, context: Context, jinja_env: jinja2.Environment) -> list[str]:
        """The command."""
        return [jinja_env.from_string(word).render(**context) for word in self.words]


@dataclass(frozen=True)
class ShellLine:
    """A shell line with the flags of the parameters that the run was given; see :func:`shell`."""

    script: str
    flags: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __call__(self, context: Context, jinja_env: jinja2.Environment) -> list[str]:
        """The line, as the one word that ``-c`` takes."""
        params: Mapping[str, Any] = context["params"]
        given = {flag: (params[name], pattern, name) for flag, (name, pattern) in self.flags.items()}
        words = [f"{flag}={quoted(*value)}" for flag, value in given.items() if value[0] not in {None, ""}]
        return [" ".join([jinja_env.from_string(self.script).render(**context), *words])]


def shell(script: str, *, program: str = "bash", flags: Mapping[str, tuple[str, str]] | None = None) -> dict[str, Any]:
    """``cmds`` and ``arguments`` of a pod whose image needs a shell: ``GKEPodOperator(**shell("a && b"), ...)``.

    :param script: the shell line. (templated; never put a parameter that is free text into it)
    :param program: ``bash`` or ``sh``.
    :param flags: flags that take a parameter of the run, ``{"--project-id": ("project_id", PROJECT)}``: put at the line's end,
        checked and quoted; left out where the parameter is None or empty.
    """
    return {"cmds": Late((program, "-c")), "arguments": ShellLine(script, flags) if flags else [script]}


def late(*words: str) -> Late:
    """A command whose words are not those of production's graph: ``late("--url", "{{ conn.some_service.host }}")``.

    For what production reads while a file is parsed (a connection, the day of today) or takes from a run's raw ``conf``, and
    this project when the task runs. Each word is rendered as Airflow renders those of a list.
    """
    return Late(words)
