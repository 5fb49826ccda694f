"""Rules of Jinja templates: that they parse, name what there is, and render."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import jinja2
from jinja2 import meta, nodes

from utils.names import did_you_mean
from wtmo.checks.rule import Finding, Look, of_task, rule
from wtmo.imports.templates import ATTRIBUTES, CONTEXT_KEYS, FILTERS, instead, is_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wtmo.graph.model import Dag, Json, Task, Template

_CHECKED = ("dag_run", "macros", "var")
"""Variables whose attributes are all known."""

CONF = "dag_run.conf"
"""What a run was started with, unchecked."""

_FOR_PEOPLE = {
    "doc",
    "doc_md",
    "doc_json",
    "doc_yaml",
    "doc_rst",
    "description",
    "map_index_template",
    "task_display_name",
}
_CALLBACK = re.compile(r"on_\w+_callback")
"""What is called has templated fields of its own."""
_LONGEST = 60


@dataclass(frozen=True)
class Read:
    """What a template says.

    :param names: what it uses of the context, each as ``variable`` or ``variable.attribute``, with their line from 1. In their order.
    :param error: why it is no template.
    :param line: of the error.
    """

    names: tuple[tuple[str, int], ...] = ()
    error: str | None = None
    line: int | None = None


@lru_cache(maxsize=8192)
def read(text: str, filters: tuple[str, ...] = ()) -> Read:
    """Parse a template. Nothing is rendered.

    :param filters: those that the DAG adds to Airflow's.
    """
    try:
        environment = _environment(filters)
        tree = environment.parse(text)
        undeclared = meta.find_undeclared_variables(tree) - set(environment.globals)
    except jinja2.TemplateSyntaxError as error:
        return Read(error=str(error.message), line=error.lineno)
    found: dict[str, int] = {}
    for name, line in _uses(tree):
        if name.partition(".")[0] in undeclared:
            found.setdefault(name, line)
    return Read(tuple(found.items()))


@lru_cache(maxsize=4096)
def parsed(text: str) -> nodes.Template:
    """A template as a tree. Whether its filters exist is not looked at.

    :raises jinja2.TemplateSyntaxError: it is none.
    """
    return _environment(()).parse(text)


@lru_cache(maxsize=64)
def _environment(filters: tuple[str, ...]) -> jinja2.Environment:
    # As Airflow makes it; what a filter would do plays no part, since nothing is rendered.
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], keep_trailing_newline=True, autoescape=True)
    environment.filters |= dict.fromkeys({*FILTERS, *filters}, str)
    return environment


def _uses(node: nodes.Node) -> Iterator[tuple[str, int]]:
    """Variables, each with the attribute that is taken of it, where one is."""
    if isinstance(node, nodes.Name):
        yield node.name, node.lineno
        return
    if isinstance(node, nodes.Getattr | nodes.Getitem) and isinstance(node.node, nodes.Name):
        attribute = _attribute(node)
        if attribute is not None:
            yield f"{node.node.name}.{attribute}", node.lineno
            return
    for inner in node.iter_child_nodes():
        yield from _uses(inner)


def _attribute(node: nodes.Getattr | nodes.Getitem) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else None


def reads_conf(template: Template) -> bool:
    """Whether a template names the raw conf of its run."""
    return any(name == CONF or name.startswith(f"{CONF}.") for name in template.names)


def _added(dag: Dag, what: str) -> tuple[str, ...]:
    """Names of the macros or filters that a DAG adds."""
    return tuple(sorted(dag.attributes.get(f"user_defined_{what}") or ()))


def _read(dag: Dag, template: Template) -> Read:
    return read(template.text, _added(dag, "filters"))


def _templates(look: Look) -> Iterator[tuple[Dag, Task, Template, Read]]:
    for dag, task in look.tasks():
        for template in task.templates:
            yield dag, task, template, _read(dag, template)


def _where(template: Template, line: int | None = None) -> str:
    """The field, and where it has several lines, which one."""
    return f"{template.field}, line {line}" if line and template.text.count("\n") else template.field


def _unknown(dag: Dag, found: Read) -> Iterator[tuple[str, int]]:
    """Names that Airflow's context does not have, and that the DAG does not add."""
    own = set(_added(dag, "macros"))
    for name, line in found.names:
        variable, _, attribute = name.partition(".")
        if variable in own:
            continue
        if variable not in CONTEXT_KEYS:
            yield variable, line
        elif attribute and variable in _CHECKED and attribute not in ATTRIBUTES[variable]:
            yield name, line


def _undeclared(dag: Dag, task: Task, found: Read) -> Iterator[tuple[str, int]]:
    """Parameters that neither the DAG nor the task declares."""
    declared = _params(dag, task)
    for name, line in found.names:
        variable, _, param = name.partition(".")
        if variable == "params" and param and param not in declared and param not in _OF_MAPPINGS:
            yield param, line


_OF_MAPPINGS = {"get", "items", "keys", "values"}


def _params(dag: Dag, task: Task) -> set[str]:
    return {*dag.params, *(task.attributes.get("params") or ())}


@rule(
    "TPL001",
    "A template that is none fails each time its task runs.",
    fix="Close what is open: {{ value }}, {% if a %}..{% endif %}.",
)
def template_parses(look: Look) -> Iterator[Finding]:
    """Every Jinja expression of every templated field parses, and names filters that there are."""
    for dag, task, template, found in _templates(look):
        if found.error is not None:
            yield of_task(
                dag, task, f"{_where(template, found.line)}: {found.error.rstrip('.')}: {_shown(template.text)}"
            )


@rule(
    "TPL002",
    "A name that Airflow does not hand to templates fails each time the task runs.",
    fix="Name what the context has: ds, logical_date, data_interval_end, params, var, conn, macros, ...",
)
def template_names(look: Look) -> Iterator[Finding]:
    """Templates name what Airflow 3.3 hands to them, what the DAG adds as ``user_defined_macros``, and nothing else.

    Names that Airflow 2 had are those of ``TPL003``.
    """
    for dag, task, template, found in _templates(look):
        for name, line in _unknown(dag, found):
            if instead(name) is None:
                yield of_task(
                    dag, task, f"{_where(template, line)}: a template has no {name!r}", fix=_known_instead(dag, name)
                )


def _known_instead(dag: Dag, name: str) -> str:
    variable, _, attribute = name.partition(".")
    if attribute:
        return f"{did_you_mean(attribute, ATTRIBUTES[variable])} Write {variable}.<name>."
    near = did_you_mean(name, {*CONTEXT_KEYS, *_added(dag, "macros")})
    return near if near.startswith("Did") else ""


@rule(
    "TPL003",
    "A name that only Airflow 2 had fails each time the task runs.",
    fix="Write what Airflow 3 has in its place.",
)
def template_of_airflow_2(look: Look) -> Iterator[Finding]:
    """Templates name nothing that Airflow 3 dropped: ``execution_date``, ``next_ds``, ``prev_ds``, ``yesterday_ds``, ``conf``, ..."""
    for dag, task, template, found in _templates(look):
        for name, line in _unknown(dag, found):
            if (advice := instead(name)) is not None:
                yield of_task(dag, task, f"{_where(template, line)}: Airflow 3 has no {name!r}", fix=advice)


@rule(
    "TPL004",
    "What does not render for a sample run does not render for a real one.",
    fix="Try it: `wtmo render DAG TASK`.",
)
def template_renders(look: Look) -> Iterator[Finding]:
    """Every templated field renders with a sample context, and nothing in it is undefined.

    The sample is the DAG's first run of the day of the check. Variables, connections and XComs answer what they are named. What other
    rules find in a template is not told twice.
    """
    for dag, task, template, found in _templates(look):
        known = (
            found.error is not None or reads_conf(template) or [*_unknown(dag, found), *_undeclared(dag, task, found)]
        )
        if template.error is not None and not known:
            yield of_task(
                dag,
                task,
                f"{_where(template, template.line)}: {_shown(template.text)} does not render: {template.error}",
            )


@rule(
    "TPL005",
    "A parameter that is not declared is undefined in a scheduled run, and no form asks for it.",
    fix="Declare it: DAG(params={...}) with a function of utils/params.py.",
)
def template_params(look: Look) -> Iterator[Finding]:
    """What a template takes of ``params`` is declared by the DAG or the task."""
    for dag, task, template, found in _templates(look):
        declared = _params(dag, task)
        for name, line in _undeclared(dag, task, found):
            near = did_you_mean(name, declared) if declared else "It declares none."
            yield of_task(
                dag,
                task,
                f"{_where(template, line)}: the DAG declares no parameter {name!r}",
                fix=f"{near} Declare it in DAG(params={{...}}) with a function of utils/params.py.",
            )


@rule(
    "TPL006",
    "A field that is not templated keeps its braces: the program gets them as they are.",
    fix="Give the value in a field that is templated, or as plain text.",
)
def template_in_plain_field(look: Look) -> Iterator[Finding]:
    """Jinja stands in fields that Airflow renders, and in no others."""
    for dag, task in look.tasks():
        templated = {*task.rendered, *(_head(template.field) for template in task.templates)}
        for name, value in task.attributes.items():
            if name in templated or name in _FOR_PEOPLE or _CALLBACK.fullmatch(name):
                continue
            for text in _texts(value):
                if is_template(text) and read(text).error is None and _prints(text):
                    yield of_task(dag, task, f"{name} is not templated: {_shown(text)} stays as it is written")


def _head(field: str) -> str:
    """The attribute that a template's field begins with."""
    return field.partition(".")[0].partition("[")[0]


def _prints(text: str) -> bool:
    """Whether a text uses a name of a context: braces alone may be anything."""
    return any(name.partition(".")[0] in CONTEXT_KEYS for name, _ in read(text).names)


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inner: Iterable[Json] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _texts(each)


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}...")
