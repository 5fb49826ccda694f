"""Jinja templates of a generated DAG: what Airflow 2.10 calls otherwise, and what Airflow 3.3 does not have.

Nothing is rendered. A template is parsed with Airflow's filters, its variables are compared with frozen tables (a test
compares the tables with Airflow's own), and names that changed are replaced where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import jinja2
from jinja2 import meta, nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT_KEYS = frozenset([
    "asset_state_store",
    "conn",
    "dag",
    "dag_run",
    "data_interval_end",
    "data_interval_start",
    "ds",
    "ds_nodash",
    "expanded_ti_count",
    "inlet_events",
    "inlets",
    "logical_date",
    "macros",
    "map_index_template",
    "outlet_events",
    "outlets",
    "params",
    "partition_date",
    "partition_key",
    "prev_data_interval_end_success",
    "prev_data_interval_start_success",
    "prev_end_date_success",
    "prev_start_date_success",
    "run_id",
    "task",
    "task_instance",
    "task_instance_key_str",
    "task_reschedule_count",
    "task_state_store",
    "test_mode",
    "ti",
    "triggering_asset_events",
    "try_number",
    "ts",
    "ts_nodash",
    "ts_nodash_with_tz",
    "var",
])
"""What a template can name in Airflow 3.3: the keys of ``airflow.sdk.Context`` but those of callbacks and PythonOperator."""

CONTEXT_KEYS_ELSEWHERE = frozenset({"exception", "reason", "templates_dict"})
"""Keys of ``airflow.sdk.Context`` that a template of an operator's field never sees."""

MACROS = frozenset([
    "datetime",
    "dateutil",
    "datetime_diff_for_humans",
    "ds_add",
    "ds_format",
    "ds_format_locale",
    "json",
    "random",
    "time",
    "timedelta",
    "uuid",
    "yaml",
])
"""What ``macros.`` has: the names of ``airflow.sdk.execution_time.macros``."""

FILTERS = frozenset({"ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"})
"""Airflow's own filters; Jinja's come on top."""

ATTRIBUTES: dict[str, frozenset[str]] = {
    "macros": MACROS,
    "var": frozenset({"value", "json"}),
    "dag_run": frozenset([
        "clear_number",
        "conf",
        "consumed_asset_events",
        "dag_id",
        "data_interval_end",
        "data_interval_start",
        "end_date",
        "logical_date",
        "note",
        "partition_date",
        "partition_key",
        "run_after",
        "run_id",
        "run_type",
        "start_date",
        "state",
        "triggering_user_name",
    ]),
    **dict.fromkeys(
        ("ti", "task_instance"),
        frozenset([
            "dag_id",
            "hostname",
            "map_index",
            "max_tries",
            "run_id",
            "start_date",
            "state",
            "task_id",
            "try_number",
            "xcom_pull",
        ]),
    ),
}
"""Attributes of variables that changed with Airflow 3; another one is refused. Those of other variables are not looked at."""

_GLOBALS = frozenset({"cycler", "dict", "joiner", "namespace", "range"})

# Airflow 2.10 set external_trigger for runs started by a person, by the API or by TriggerDagRunOperator.
_EXTERNAL = "(dag_run.run_type in ('manual', 'operator_triggered'))"
# In such a run next_execution_date was the run's own date, else the next one of the schedule: the end of the interval.
_NEXT = "(logical_date if dag_run.run_type in ('manual', 'operator_triggered') else data_interval_end)"
_DAY_AWAY = "macros.ds_add(ds, {})"
_DAY_AWAY_NODASH = "macros.ds_format(macros.ds_add(ds, {}), '%Y-%m-%d', '%Y%m%d')"

_VARIABLES: dict[str, tuple[str, str]] = {
    "execution_date": ("template-logical-date", "logical_date"),
    "next_execution_date": ("template-next-date", _NEXT),
    "next_ds": ("template-next-date", f"({_NEXT} | ds)"),
    "next_ds_nodash": ("template-next-date", f"({_NEXT} | ds_nodash)"),
    "yesterday_ds": ("template-day-away", _DAY_AWAY.format(-1)),
    "yesterday_ds_nodash": ("template-day-away", _DAY_AWAY_NODASH.format(-1)),
    "tomorrow_ds": ("template-day-away", _DAY_AWAY.format(1)),
    "tomorrow_ds_nodash": ("template-day-away", _DAY_AWAY_NODASH.format(1)),
    "triggering_dataset_events": ("template-assets", "triggering_asset_events"),
}
_OF_OBJECTS: dict[tuple[str, str], tuple[str, str]] = {
    ("dag_run", "execution_date"): ("template-logical-date", "dag_run.logical_date"),
    ("dag_run", "external_trigger"): ("template-external-trigger", _EXTERNAL),
    ("ti", "execution_date"): ("template-logical-date", "logical_date"),
    ("task_instance", "execution_date"): ("template-logical-date", "logical_date"),
}
_PREVIOUS = (
    "Airflow 3 does not tell a template the previous date of the schedule. Where the schedule is daily, "
    "write macros.ds_add(ds, -1) or (logical_date - macros.timedelta(days=1)) in the source."
)
_GONE: dict[str, str] = {
    **dict.fromkeys(("prev_ds", "prev_ds_nodash", "prev_execution_date"), _PREVIOUS),
    "prev_execution_date_success": "Airflow 3 has prev_data_interval_start_success, which differs for manual runs. "
    "Choose in the source.",
    "conf": "Airflow 3 does not hand its configuration to templates. Write the value in the source.",
    "dag_run.is_backfill": "Write dag_run.run_type == 'backfill' in the source.",
}


@dataclass(frozen=True)
class Edit:
    """A piece of a template to replace: ``text[start:end]``. Replacements hold ``'`` as their only quotes."""

    rule: str
    start: int
    end: int
    old: str
    new: str


@dataclass(frozen=True)
class Fault:
    """What is wrong with a template, and at which offset."""

    at: int
    reason: str


def instead(name: str) -> str | None:
    """What to write for a name that templates of Airflow 2 had and those of Airflow 3 have not, as a sentence. None: it is no such name.

    :param name: a variable, or ``<variable>.<attribute>``.

    >>> instead("execution_date")
    'Write logical_date.'
    """
    head, _, attribute = name.partition(".")
    found = _OF_OBJECTS.get((head, attribute)) if attribute else _VARIABLES.get(name)
    return f"Write {found[1]}." if found else _GONE.get(name)


def is_template(text: str) -> bool:
    """Whether Jinja would do anything with a text."""
    return "{{" in text or "{%" in text or "{#" in text


def _environment() -> jinja2.Environment:
    # As Airflow makes it; what a filter would do plays no part, since nothing is rendered.
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], keep_trailing_newline=True, autoescape=True)
    environment.filters |= dict.fromkeys(FILTERS, str)
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=4096)
def translate_template(text: str) -> tuple[tuple[Edit, ...], tuple[Fault, ...]]:
    """What is to replace in a template, in its order, and what Airflow 3.3 can't render.

    :param text: the template, as Airflow gets it.
    """
    try:
        tree = _ENVIRONMENT.parse(text)
        undeclared = meta.find_undeclared_variables(tree)
    except jinja2.TemplateError as error:
        lines = text.split("\n")[: max(getattr(error, "lineno", 1) - 1, 0)]
        return (), (Fault(sum(len(line) + 1 for line in lines), f"the template can't be read: {error.message}"),)
    tokens = list(_tokens(text))
    faults: list[Fault] = []
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        line = sum(len(part) + 1 for part in text.split("\n")[: node.lineno - 1])
        faults.append(Fault(line, "the template takes in another one. Put its text in the source."))
    assigned = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    faults += [
        Fault(
            _where(tokens, name),
            f"the template sets {name}, which Airflow 2 sets too. Choose another name in the source.",
        )
        for name in sorted(assigned & {*_VARIABLES, *_GONE, *CONTEXT_KEYS})
    ]
    edits: list[Edit] = []
    for name in sorted(undeclared - CONTEXT_KEYS - _GLOBALS - _VARIABLES.keys()):
        why = _GONE.get(name, "It is not among the variables that Airflow 3.3 hands to templates.")
        faults.append(Fault(_where(tokens, name), f"unknown template variable {name}: {why}"))
    edits, attribute_faults = _edits(tokens, undeclared)
    return tuple(edits), tuple(faults + attribute_faults)


def _edits(tokens: list[_Token], undeclared: set[str]) -> tuple[list[Edit], list[Fault]]:
    edits: list[Edit] = []
    faults: list[Fault] = []
    at = 0
    while at < len(tokens):
        token, at = tokens[at], at + 1
        if token.kind != "name" or token.text not in undeclared or not _is_variable(tokens, at - 1):
            continue
        attribute = _attribute(tokens, at)
        if attribute is not None:
            both = f"{token.text}.{attribute.text}"
            if found := _OF_OBJECTS.get((token.text, attribute.text)):
                edits.append(Edit(found[0], token.start, attribute.end, both, found[1]))
                continue
            if token.text in ATTRIBUTES and attribute.text not in ATTRIBUTES[token.text]:
                why = _GONE.get(both, f"Airflow 3.3 has of {token.text}: {', '.join(sorted(ATTRIBUTES[token.text]))}.")
                faults.append(Fault(token.start, f"unknown in a template: {both}. {why}"))
        elif token.text in ATTRIBUTES and at < len(tokens) and tokens[at].text == "[":
            faults.append(
                Fault(token.start, f"{token.text}[...] in a template can't be checked. Write {token.text}.<name>.")
            )
        if token.text in _VARIABLES:
            rule, new = _VARIABLES[token.text]
            edits.append(Edit(rule, token.start, token.end, token.text, new))
    return edits, faults


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def _tokens(text: str) -> Iterator[_Token]:
    """The tokens between Jinja's braces. The lexer drops white space that a ``-`` strips, so each one is looked up."""
    at = 0
    for _, kind, value in _ENVIRONMENT.lex(text):
        at = text.index(value, at)
        if kind not in {"data", "whitespace", "comment"}:
            yield _Token(kind, value, at)
        at += len(value)


def _is_variable(tokens: list[_Token], at: int) -> bool:
    before = tokens[at - 1].text if at else ""
    after = tokens[at + 1].text if at + 1 < len(tokens) else ""
    return before not in {".", "|", "is"} and not (after == "=" and before in {"(", ","})


def _attribute(tokens: list[_Token], at: int) -> _Token | None:
    if at + 1 < len(tokens) and tokens[at].text == "." and tokens[at + 1].kind == "name":
        return tokens[at + 1]
    return None


def _where(tokens: list[_Token], name: str) -> int:
    return next((token.start for token in tokens if token.kind == "name" and token.text == name), 0)
