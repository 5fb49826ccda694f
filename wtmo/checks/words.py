"""The words of a task's command, and which of them a shell reads. Not rules: what the rules of pods and of commands work on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.graph.model import Json, Task

SHELLS = {"ash", "bash", "dash", "ksh", "sh", "zsh"}
SHELL_FIELDS = ("bash_command",)
"""Fields of operators that a shell reads as they are: BashOperator's and BashSensor's."""

_PROGRAM = {"cmds", "expand_kwargs", "image"}
_FLAGS = re.compile(r"-[A-Za-z]+")
_TAKES_A_WORD = {"-o", "+o", "-O", "+O", "--rcfile", "--init-file"}


@dataclass(frozen=True)
class Word:
    """A word of a command.

    :param field: where it stands, like ``arguments[2]``.
    :param text: as written, with its Jinja. Of what is no text, its form as JSON.
    :param rendered: for the sample run. None: not known.
    :param script: a shell reads it as a script.
    :param first: it is the program's name.
    """

    field: str
    text: Json
    rendered: Json = None
    script: bool = False
    first: bool = False

    @property
    def final(self) -> Json:
        """As the program gets it, as far as that is known."""
        return self.text if self.rendered is None else self.rendered


def words(task: Task) -> list[Word]:
    """The words of a pod's command, the program's name first if the task names one, and what a bash operator runs.

    Of a pod whose program only a run has: none, as nobody knows what reads them.
    """
    is_known = task.is_a("KubernetesPodOperator") and not _PROGRAM & set(task.unknown)
    found = [*_of_field(task, "cmds"), *_of_field(task, "arguments")] if is_known else []
    if found and found[0].field.startswith("cmds"):
        found[0] = Word(found[0].field, found[0].text, found[0].rendered, first=True)
    at = script_at([str(word.text) for word in found])
    if at is not None:
        found[at] = Word(found[at].field, found[at].text, found[at].rendered, script=True)
    for name in SHELL_FIELDS:
        if isinstance(text := task.attributes.get(name), str):
            found.append(Word(name, text, task.rendered.get(name), script=True))
    return found


def flags(found: list[Word]) -> list[Word]:
    """The flags of the shell that a command starts with. Empty: it starts with none."""
    at = _shell_at([str(word.text) for word in found])
    if at is None:
        return []
    end = next((number for number, word in enumerate(found) if word.script), len(found))
    return [word for word in found[at + 1 : end] if _FLAGS.fullmatch(str(word.text))]


def script_at(command: list[str]) -> int | None:
    """Which word of a command is a script that a shell reads. None: none.

    >>> script_at(["/bin/bash", "-o", "pipefail", "-ec", "a && b"])
    4
    >>> script_at(["env", "A=1", "sh", "-c", "a"])
    4
    >>> script_at(["script/bqetl", "-c", "a"])
    """
    at = _shell_at(command)
    if at is None:
        return None
    script, at = False, at + 1
    while at < len(command):
        word = command[at]
        if not word.startswith(("-", "+")) or word == "--":
            break
        script = script or (_FLAGS.fullmatch(word) is not None and "c" in word)
        at += 2 if word in _TAKES_A_WORD else 1
    at += at < len(command) and command[at] == "--"
    return at if script and at < len(command) else None


def _shell_at(command: list[str]) -> int | None:
    at = 0
    if command and command[0].rpartition("/")[2] == "env":
        at = 1
        while at < len(command) and ("=" in command[at] or command[at].startswith("-")):
            at += 1
    return at if at < len(command) and command[at].rpartition("/")[2] in SHELLS else None


def _of_field(task: Task, name: str) -> Iterator[Word]:
    """The words of ``cmds`` or ``arguments``, also those that are put together when the task runs (:mod:`utils.commands`)."""
    value, rendered = task.attributes.get(name), task.rendered.get(name)
    prefix = name
    if isinstance(value, dict) and len(value) == 1:
        kind, inside = next(iter(value.items()))
        if kind == "Late":
            prefix, value = f"{name}.words", inside.get("words")
        elif kind == "ShellLine":
            prefix, value = f"{name}.script", [inside.get("script")]
            rendered = rendered[:1] if isinstance(rendered, list) else None
    if not isinstance(value, list):
        return
    known = rendered if isinstance(rendered, list) and len(rendered) == len(value) else [None] * len(value)
    for number, (text, made) in enumerate(zip(value, known, strict=True)):
        yield Word(prefix if prefix.endswith("script") else f"{prefix}[{number}]", text, made)
