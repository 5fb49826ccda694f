"""Tells all about the DAGs of one file as plain data, the :class:`wtmo.graph.model.File` as JSON. Runs in the sandbox only.

Everything here is read off the DAG objects: the file has run, in this process, with database, Variables, Connections and network
cut off (:class:`Watch`). What only a real run has renders to the path that led to it, ``<ti.xcom_pull(task_ids='a')>``; a
parameter without default to a value that its schema allows. What can't be told says why in an ``error`` field: one task never
hides another.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import cache, cached_property, lru_cache, partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import jinja2
import pendulum
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from airflow.sdk import DAG, BaseNotifier, TaskGroup
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.definitions._internal.templater import SandboxedEnvironment
from airflow.sdk.definitions._internal.types import is_arg_set
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.definitions.xcom_arg import PlainXComArg, XComArg
from airflow.sdk.execution_time import macros
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from croniter import croniter
from jinja2 import meta, nodes
from kubernetes.client import ApiClient, Configuration

from operators.gcp_container_operator import OWNER
from utils import policy
from utils.bqetl import flags, jobs
from utils.errors import WtmoError
from utils.images import image_of
from wtmo.graph.model import Dag as DagFacts
from wtmo.graph.model import PodSecret, Query, Run, Task, Template, Wait
from wtmo.imports import shape
from wtmo.imports.templates import ATTRIBUTES, is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from airflow.timetables.base import DataInterval

MOST_FIRES = 9000
"""Runs of a year that are told: an hourly DAG's all."""
YEAR = 365
_LONGEST_ERROR = 2000
_TABLE_FOLDER_DEPTH = 5
_BQETL_IMAGES = ("private-bigquery-etl", "bigquery-etl")
_UNTOUCHED = timedelta(0)


# --- what the file does while it is loaded


class TouchedError(RuntimeError):
    """Something that a DAG file must not ask for while it is parsed."""


class Watch:
    """Cuts a file off from database, Variables, Connections and network while it is parsed, and notes what it asked for: also
    where the file catches the error.

    :param path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.touched: tuple[str, int | None] | None = None
        self.lines: dict[int, int] = {}
        """Line in which each DAG and each task was made, by the object's :func:`id`."""
        self._on = False

    def __enter__(self) -> Watch:
        from airflow import settings
        from airflow.models.connection import Connection
        from airflow.models.variable import Variable
        from airflow.sdk.execution_time import context
        from airflow.utils import session

        from wtmo.imports import isolation

        refuse = self._refuse
        for name in ("_get_variable", "_set_variable", "_delete_variable", "_get_variable_keys"):
            setattr(context, name, refuse("Variable"))
        for name in ("_get_connection", "_async_get_connection"):
            setattr(context, name, refuse("Connection"))
        for model, names in (
            (Variable, ("get_variable_from_secrets", "set", "update", "delete")),
            (Connection, ("get_connection_from_secrets",)),
        ):
            for name in names:
                setattr(model, name, refuse(model.__name__))
        session.create_session = refuse("the metadata database")
        for name in ("Session", "get_session", "NonScopedSession", "AsyncSession"):
            setattr(settings, name, refuse("the metadata database"))
        isolation.on_denial = self._denied
        sys.addaudithook(self._hear)
        self._note_lines()
        self._on = True
        return self

    def __exit__(self, *error: object) -> None:
        self._on = False

    def line(self) -> int | None:
        """The line of the file that runs, of its innermost frame."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == self._path:
                return frame.f_lineno
            frame = frame.f_back
        return None

    def _refuse(self, what: str) -> Callable[..., Any]:
        def refused(*arguments: Any, **_: Any) -> Any:
            name = next((repr(each) for each in arguments if isinstance(each, str)), "")
            self._touch(f"{what} {name}".strip())
            raise TouchedError(f"a DAG file can't use {what} {name}".strip() + " while it is parsed")

        return refused

    def _touch(self, what: str) -> None:
        line = self.line()
        if self._on and self.touched is None and line is not None:
            self.touched = what, line

    def _denied(self, event: str) -> None:
        """The sandbox refuses a call: of the file itself, not of a library that looks what there is when it is imported."""
        if not self._imports():
            kind = "the network" if event.startswith("socket.") else f"{event}, an act outside its process,"
            self._touch(kind)

    def _hear(self, event: str, _: tuple[Any, ...]) -> None:
        if self._on and event == "socket.__new__":
            self._denied(event)

    def _imports(self) -> bool:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self._path:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back
        return False

    def _note_lines(self) -> None:
        add, make, lines, line = DAG.add_task, DAG.__init__, self.lines, self.line

        def add_task(dag: DAG, task: Any) -> None:
            if (number := line()) is not None:
                lines[id(task)] = number
            add(dag, task)

        def init(dag: DAG, *arguments: Any, **keywords: Any) -> None:
            if (number := line()) is not None:
                lines[id(dag)] = number
            make(dag, *arguments, **keywords)

        for name, patched in (("add_task", add_task), ("__init__", init)):
            setattr(DAG, name, patched)


# --- values as data


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
        return _utc(value)
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
        return _api_client().sanitize_for_serialization(value)
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
        return _name_of(value)
    elif is_dataclass(value):
        found = {each.name: getattr(value, each.name) for each in fields(value)}
    elif attrs.has(type(value)):
        found = {each.name: getattr(value, each.name, None) for each in attrs.fields(type(value))}
    else:
        return _name_of(value)
    return {type(value).__name__: {name: inner(each) for name, each in found.items() if not name.startswith("_")}}


def _name_of(value: Any) -> str:
    """``module.function``, or ``<module.Class>`` of an object. A module that is the DAG file goes by the file's name."""
    if isinstance(value, partial):
        return _name_of(value.func)
    function = value if hasattr(value, "__qualname__") else type(value)
    module = str(getattr(function, "__module__", "")).removeprefix("unusual_prefix_")
    head, _, rest = module.partition("_")
    own = rest if len(head) == 40 else module  # Airflow's name of a DAG file's module: a digest, then the file's name
    name = ".".join(part for part in (own, function.__qualname__) if part)
    return name if function is value else f"<{name}>"


@cache
def _api_client() -> ApiClient:
    return ApiClient()


@cache
def _share_configuration() -> None:
    """Each model of the Kubernetes client makes a configuration of its own, which takes longer than all the rest of a pod."""
    shared = Configuration()
    for name, given in (("get_default_copy", classmethod(lambda _: shared)), ("__deepcopy__", lambda own, _: own)):
        setattr(Configuration, name, given)


def _utc(moment: datetime) -> str:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _words(error: BaseException) -> str:
    said = str(getattr(error, "message", None) or error).strip()
    name = type(error).__name__
    return (f"{name}: {said}" if said else name)[:_LONGEST_ERROR]


# --- when a DAG runs


def fires(timetable: Any, start: datetime | None, end: datetime | None, day: datetime) -> list[tuple[datetime, ...]]:
    """Logical date, start and end of the data interval of each run over a year, as if none was left out.

    :param start: the earliest date of which there are runs. :param end: the last.
    :param day: where the year begins.
    """
    if not timetable.can_be_scheduled or not timetable.periodic or type(timetable).__name__ == "ContinuousTimetable":
        return []
    last = pendulum.instance(day).add(days=YEAR)
    latest = last if end is None else min(last, pendulum.instance(end))
    if type(timetable) is CronDataIntervalTimetable:
        return _fires_of_cron(timetable, max(pendulum.instance(start or day), pendulum.instance(day)), latest)
    before, earliest = _way_in(timetable, start, pendulum.instance(day))
    window = TimeRestriction(earliest=earliest, latest=latest, catchup=True)
    found: list[tuple[datetime, ...]] = []
    info = timetable.next_dagrun_info(last_automated_data_interval=before, restriction=window)
    while info is not None and len(found) < MOST_FIRES:
        logical = info.logical_date
        if logical is None or logical > latest or (found and logical <= found[-1][0]):
            break
        if logical >= day:
            interval = info.data_interval
            found.append((logical, *((interval.start, interval.end) if interval else (logical, logical))))
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=window)
    return found


def _fires_of_cron(
    timetable: CronDataIntervalTimetable, earliest: pendulum.DateTime, latest: datetime
) -> list[tuple[datetime, ...]]:
    """The same, where one interval begins when the last one ends: asking the timetable takes 20 times as long."""
    begin = timetable._align_to_next(earliest)
    if str(getattr(timetable._timezone, "name", "")) == "UTC":
        ticks = croniter(timetable._expression, start_time=begin)
        after = partial(ticks.get_next, datetime)
    else:
        after = None
    found: list[tuple[datetime, ...]] = []
    while begin <= latest and len(found) < MOST_FIRES:
        end = timetable._get_next(begin) if after is None else after()
        found.append((begin, begin, end))
        begin = end
    return found


def _way_in(
    timetable: Any, start: datetime | None, day: pendulum.DateTime
) -> tuple[DataInterval | None, pendulum.DateTime]:
    """From where to count the runs: intervals of a fixed length are counted from the DAG's start."""
    from airflow.timetables.base import DataInterval

    first = pendulum.instance(start) if start is not None else day
    if first >= day:
        return None, first
    delta = getattr(timetable, "_delta", getattr(timetable, "delta", None))
    if isinstance(delta, timedelta) and delta > _UNTOUCHED:
        end = first + delta * (timedelta(seconds=(day - first).total_seconds()) // delta)
        return DataInterval(end - delta, end), first
    return (None, first) if delta is not None else (None, day)


# --- the run for which templates are rendered


class _Facts:
    """An object of a template's context: it has what it was given, and of the names of its class a stand-in."""

    def __init__(self, path: str, names: Iterable[str], **known: Any) -> None:
        self.__dict__.update({name: Unknown.of(f"{path}.{name}") for name in names} | known)


# Jinja says "'dag_run object' has no attribute .." of an object whose class is called so.
_DagRun = type("dag_run", (_Facts,), {"__module__": "builtins"})
_Ti = type("ti", (_Facts,), {"__module__": "builtins"})
_Connection = type("connection", (_Facts,), {"__module__": "builtins"})
_OF_TI = {
    *ATTRIBUTES["ti"],
    *RuntimeTaskInstance.model_fields,
    *(name for name in dir(RuntimeTaskInstance) if not name.startswith(("_", "model_"))),
}
_OF_CONNECTIONS = (
    *("conn_id", "conn_type", "description", "extra", "extra_dejson", "get_uri", "host", "login", "password", "port"),
    "schema",
)


class _Variables:
    def __init__(self, path: str) -> None:
        self._where = path

    def __getattr__(self, name: str) -> Unknown:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unknown.of(f"{self._where}.{name}")

    def get(self, key: str, default: Any = None) -> Any:
        """As of Airflow: the value, or what is given for the case that there is none, which is what a reader sees."""
        return Unknown.of(f"{self._where}.{key}") if default is None else default


class _Connections:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    def get(self, conn_id: str, default: Any = None) -> Any:
        """The connection of that name."""
        return _Connection(f"conn.{conn_id}", _OF_CONNECTIONS, conn_id=conn_id)


def context_of(dag: DAG, run: tuple[datetime, ...], *, started: bool) -> dict[str, Any]:
    """What templates of a DAG's tasks can name in a run, but for what is the task's own.

    :param run: logical date, start and end of the data interval.
    :param started: by a person.
    """
    dates = _dates_of(run)
    logical, start, end = (dates[name] for name in ("logical_date", "data_interval_start", "data_interval_end"))
    kind = "manual" if started else "scheduled"
    run_id = f"{kind}__{logical.isoformat()}"
    length = end - start
    return dates | {
        "macros": macros,
        "run_id": run_id,
        "dag": dag,
        "dag_run": _DagRun(
            "dag_run",
            ATTRIBUTES["dag_run"],
            logical_date=logical,
            data_interval_start=start,
            data_interval_end=end,
            dag_id=dag.dag_id,
            run_id=run_id,
            run_type=kind,
            run_after=logical if started else end,
            conf={},
            start_date=logical if started else end,
            state="running",
            clear_number=0,
            end_date=None,
            note=None,
            partition_key=None,
            partition_date=None,
            triggering_user_name=None,
            consumed_asset_events=[],
            team_name=None,
        ),
        "var": {"value": _Variables("var.value"), "json": _Variables("var.json")},
        "conn": _Connections(),
        "prev_data_interval_start_success": start - length,
        "prev_data_interval_end_success": start,
        "prev_start_date_success": start,
        "prev_end_date_success": start.add(minutes=1),
        "triggering_asset_events": {},
        "partition_key": None,
        "partition_date": None,
        "task_reschedule_count": 0,
        "expanded_ti_count": None,
        "test_mode": False,
        "try_number": 1,
        **{
            name: Unknown.of(name)
            for name in ("inlet_events", "outlet_events", "task_state_store", "asset_state_store")
        },
    }


def _with_task(context: Mapping[str, Any], task: Any) -> dict[str, Any]:
    ti = _Ti(
        "ti",
        _OF_TI,
        dag_id=context["dag"].dag_id,
        task_id=task.task_id,
        run_id=context["run_id"],
        map_index=-1,
        try_number=1,
        max_tries=task.retries,
        state="running",
        start_date=context["data_interval_end"],
        end_date=None,
        task=task,
        xcom_pull=_xcom_pull,
        get_relevant_upstream_map_indexes=_nothing,
        stats_tags={},
    )
    given = task.partial_kwargs.get("params") if isinstance(task, MappedOperator) else task.params
    return {
        **context,
        "ti": ti,
        "task_instance": ti,
        "task": task,
        "task_instance_key_str": f"{context['dag'].dag_id}__{task.task_id}__{context['ds_nodash']}",
        "inlets": list(getattr(task, "inlets", None) or []),
        "outlets": list(getattr(task, "outlets", None) or []),
        "map_index_template": getattr(task, "map_index_template", None),
        "params": sample_params({**dict(context["dag"].params.items()), **_params(given)}, context["logical_date"]),
    }


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _xcom_pull(task_ids: Any = None, key: str = BaseXCom.XCOM_RETURN_KEY, **_: Any) -> Unknown:
    told = "" if key == BaseXCom.XCOM_RETURN_KEY else f", {key!r}"
    return Unknown.of(f"ti.xcom_pull({task_ids!r}{told})")


def _params(given: Any) -> dict[str, Any]:
    return dict(given.items()) if given else {}


def sample_params(params: Mapping[str, Any], logical: datetime) -> dict[str, Any]:
    """A value for each parameter: its default, else one that its schema allows."""
    schemas = {name: _param(value) for name, value in params.items()}
    return {
        name: facts["value"] if "value" in facts else _sample(name, facts["schema"], logical)
        for name, facts in schemas.items()
    }


def _sample(name: str, schema: Mapping[str, Any], logical: datetime) -> Any:
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else next((each for each in kinds if each != "null"), "null")
    if choices := schema.get("enum"):
        return choices[0]
    if kind in {"integer", "number"}:
        return schema.get("minimum", schema.get("maximum", 1))
    if kind == "array":
        items = schema.get("items", {})
        return [_sample(name, items, logical)] * max(1, schema.get("minItems", 1))
    simple: dict[str, Any] = {"boolean": False, "object": {}, "null": None}
    if kind in simple:
        return simple[kind]
    dates = {"date": f"{logical:%Y-%m-%d}", "date-time": logical.isoformat(), "time": f"{logical:%H:%M:%S}"}
    return dates.get(schema.get("format", ""), Unknown.of(f"params.{name}"))


def _param(param: Any) -> dict[str, Any]:
    """``value`` (left out where there is none), ``description`` and ``schema`` of a parameter."""
    if not hasattr(param, "schema"):
        return {"value": plain(param), "description": None, "schema": {}}
    told = {"description": param.description, "schema": plain(param.schema)}
    return told | ({"value": plain(param.value)} if is_arg_set(param.value) else {})


# --- templates


class _Renderer:
    """Renders a DAG's templates as its tasks do, each text compiled once.

    :param runs: of a year, for what is asked for each of them.
    """

    def __init__(self, dag: DAG, context: Mapping[str, Any], runs: Sequence[tuple[datetime, ...]]) -> None:
        self.context = context
        self.mapped: dict[Any, dict[str, Any]] = {}
        """What :func:`_mapped` found, by template or function: the tasks of a DAG ask for the same ones."""
        self._runs = runs
        self.environment = dag.get_template_env()
        compiled = self.environment.from_string
        # Airflow compiles each text anew; of a generated file most are the same ones.
        vars(self.environment)["from_string"] = lru_cache(maxsize=None)(lambda text: compiled(text))

    @cached_property
    def dates(self) -> list[dict[str, Any]]:
        """What of the context is the run's own, for each run."""
        return [_dates_of(run) for run in self._runs]

    def text(self, task: Any, path: str, text: str, context: Mapping[str, Any]) -> Template:
        """One text of a task: what it renders to, or why it does not."""
        try:
            names = names_of(text, self.environment)
        except jinja2.TemplateSyntaxError as error:
            return Template(path, text, None, _words(error), error.lineno)
        try:
            rendered = task.render_template(text, context, self.environment)
        except Exception as error:
            return Template(path, text, None, _words(error), _line_of_template(error), names)
        return Template(path, text, str(plain(rendered)), None, None, names)


def _line_of_template(error: BaseException) -> int | None:
    """The line of the template's text that was rendered."""
    found, frame = None, error.__traceback__
    while frame is not None:
        template = frame.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            found = template.get_corresponding_lineno(frame.tb_lineno)
        elif frame.tb_frame.f_code.co_filename == "<template>":  # Jinja has rewritten it
            found = frame.tb_lineno
        frame = frame.tb_next
    return found


_PARSER = SandboxedEnvironment(extensions=["jinja2.ext.do"])
_LOOKUPS = {"get"}


@cache
def names_of(text: str, environment: jinja2.Environment = _PARSER) -> tuple[str, ...]:
    """What a template uses of its context, each the longest path that can be told. Sorted.

    :param environment: whose filters it can use. Default: Airflow's.
    :raises jinja2.TemplateSyntaxError: it is none, or uses a filter that there is not.

    >>> names_of("{{ macros.ds_add(ds, 1) }} {{ var.value.get('a', 1) }} {{ params['x'].y }}")
    ('ds', 'macros.ds_add', 'params.x.y', 'var.value.a')
    """
    tree = environment.parse(text)
    undeclared = meta.find_undeclared_variables(tree)
    found: set[str] = set()

    def look(node: nodes.Node) -> None:
        path = _path(node)
        if path is not None:
            if path[0] in undeclared:
                found.add(".".join(path))
            return
        for inner in node.iter_child_nodes():
            look(inner)

    look(tree)
    return tuple(sorted(found))


def _path(node: nodes.Node) -> list[str] | None:
    if isinstance(node, nodes.Name) and node.ctx == "load":
        return [node.name]
    if isinstance(node, nodes.Getattr) and (head := _path(node.node)):
        return [*head, node.attr]
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and (head := _path(node.node)):
        return [*head, str(node.arg.value)]
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr in _LOOKUPS:
        # var.value.get("name") and conn.get("name") are the name's.
        head = _path(node.node.node)
        if head and head[0] in {"var", "conn"} and node.args and isinstance(node.args[0], nodes.Const):
            return [*head, str(node.args[0].value)]
    return None


_NESTED = {
    "V1EnvVar": ("value", "name"),
    "V1ResourceRequirements": ("limits", "requests"),
    "V1Volume": ("name", "persistent_volume_claim", "config_map"),
    "V1VolumeMount": ("name", "sub_path"),
    "V1PersistentVolumeClaimVolumeSource": ("claim_name",),
    "V1ConfigMapVolumeSource": ("name",),
    "V1EnvFromSource": ("config_map_ref",),
    "V1ConfigMapEnvSource": ("name",),
}
"""Attributes of Kubernetes' models that ``KubernetesPodOperator`` renders (its ``_render_nested_template_fields``, cncf-kubernetes
10.25.0); a test compares them."""


def texts(value: Any, path: str, endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The texts of a template field in which Jinja is, or which name a file that it is in, with their paths."""
    if isinstance(value, str):
        if is_template(value) or (endings and value.endswith(endings)):
            yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, f"{path}.{key}", endings)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            name = getattr(inner, "name", None) if type(inner).__name__ == "V1EnvVar" else None
            yield from texts(inner, f"{path}.{name}" if name else f"{path}[{number}]", endings)
    elif isinstance(value, set | frozenset):
        for number, inner in enumerate(sorted(value, key=str)):
            yield from texts(inner, f"{path}[{number}]", endings)
    elif callable(value) and is_dataclass(value) and not isinstance(value, type):
        # A function that is called when the task runs, and says as data what it renders (utils.commands).
        for field in fields(value):
            yield from texts(getattr(value, field.name), f"{path}.{field.name}", endings)
    elif not isinstance(value, XComArg | DAG | TaskGroup | BaseOperator | MappedOperator | type):
        nested: Iterable[str] = _NESTED.get(type(value).__name__) or getattr(value, "template_fields", None) or ()
        for name in nested:
            single = type(value).__name__ == "V1EnvVar" and name == "value"
            yield from texts(getattr(value, name, None), path if single else f"{path}.{name}", endings)


def _own(value: Any) -> Any:
    """A copy of a template field that can be rendered in place."""
    if isinstance(value, list):
        return [_own(each) for each in value]
    if isinstance(value, dict):
        return {key: _own(each) for key, each in value.items()}
    if type(value) is tuple:
        return tuple(_own(each) for each in value)
    return copy.deepcopy(value) if hasattr(value, "openapi_types") else value


class _Rendered:
    """A task whose template fields are rendered, as far as they can be.

    :ivar task: a copy of the task with rendered fields.
    :ivar values: the rendered fields as JSON; None where one is empty or can't be rendered.
    :ivar errors: why a field can't be rendered, by its name.
    :ivar templates: every text with Jinja in it.
    """

    def __init__(self, task: BaseOperator, renderer: _Renderer, context: Mapping[str, Any]) -> None:
        self.task: Any = copy.copy(task)
        vars(self.task)["_lock_for_execution"] = True  # fields that are set now are no dependencies
        self.values: dict[str, Any] = {}
        self.errors: dict[str, str] = {}
        self.templates: list[Template] = []
        endings = tuple(task.template_ext or ())
        for name in task.template_fields:
            value = getattr(self.task, name, None)
            found = [renderer.text(task, path, text, context) for path, text in texts(value, name, endings)]
            self.templates += found
            wrong = next((f"{each.field}: {each.error}" for each in found if each.error), None)
            if wrong is None:
                wrong = self._render(name, value, renderer, context)
            if wrong is not None:
                self.errors[name], self.values[name] = wrong, None

    def _render(self, name: str, value: Any, renderer: _Renderer, context: Mapping[str, Any]) -> str | None:
        own = vars(self.task)
        try:
            own[name] = _own(value)
            self.task._do_render_template_fields(self.task, (name,), context, renderer.environment, set())
            if isinstance(rendered := own[name], Unknown) and name in {"arguments", "cmds"}:
                own[name] = [rendered]
            self.values[name] = plain(own[name])
        except Exception as error:
            own[name], self.values[name] = value, None
            if callable(value):  # no text says it
                self.templates.append(Template(name, _name_of(value), None, _words(error)))
            return f"{name}: {_words(error)}"
        return None


# --- what kinds of tasks have


class _NoCluster:
    """In place of the hook of a cluster: a manifest is made without one."""

    is_in_cluster = False

    def get_namespace(self) -> None:
        """The connection's: none is looked at."""

    get_xcom_sidecar_container_image = get_namespace
    get_xcom_sidecar_container_resources = get_namespace
    get_xcom_sidecar_container_security_context = get_namespace


def pod_of(rendered: _Rendered, context: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The manifest that a task makes, or why it can't be told."""
    if rendered.errors:
        return None, "; ".join(f"{error}" for error in rendered.errors.values())
    task = copy.copy(rendered.task)
    own = vars(task)
    for name in task.template_fields:
        own[name] = _own(own.get(name))
    own["random_name_suffix"] = False
    try:
        # A property that is kept once it was asked for.
        own["hook"] = _NoCluster()
        pod = task.build_pod_request_obj(context)
        manifest = _api_client().sanitize_for_serialization(pod)
        manifest = json.loads(json.dumps(manifest, default=str))
    except Exception as error:
        return None, _words(error)
    found = manifest.get("metadata", {})
    found.get("annotations", {}).pop(OWNER, None)
    return manifest, None


def secrets_of(manifest: Mapping[str, Any]) -> tuple[PodSecret, ...]:
    """The secrets that a manifest takes values of."""
    spec = manifest.get("spec", {})
    found: list[PodSecret] = []
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        for variable in container.get("env", []):
            if reference := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                found.append(PodSecret(reference["name"], reference.get("key"), variable["name"], "env"))
        for source in container.get("envFrom", []):
            if reference := source.get("secretRef"):
                found.append(PodSecret(reference["name"], None, None, "env"))
    mounts = {
        mount["name"]: mount.get("mountPath")
        for container in spec.get("containers", [])
        for mount in container.get("volumeMounts", [])
    }
    for volume in spec.get("volumes", []):
        if secret := volume.get("secret"):
            items = [item.get("key") for item in secret.get("items") or []] or [None]
            found += [
                PodSecret(secret.get("secretName", ""), key, mounts.get(volume["name"]), "volume") for key in items
            ]
    return tuple(dict.fromkeys(found))


def wait_of(rendered: _Rendered, renderer: _Renderer, context: Mapping[str, Any]) -> Wait:
    """What a sensor waits for, or a marker points to."""
    task = rendered.task
    is_marker = isinstance(task, ExternalTaskMarker)
    names = [task.external_task_id] if is_marker else task.external_task_ids or [task.external_task_id]
    of_tasks = tuple(str(plain(name)) for name in names or () if name)
    group = None if is_marker else task.external_task_group_id
    wait = partial(Wait, str(plain(task.external_dag_id)), of_tasks, group if group is None else str(group))
    if rendered.errors:
        why = "; ".join(rendered.errors.values())
        if any(name in rendered.errors for name in ("external_dag_id", "external_task_id", "external_task_ids")):
            return wait(how="template", delta=None, error=why)
    if not is_marker:
        if task.execution_delta:
            return wait(how="delta", delta=task.execution_delta.total_seconds())
        if task.execution_date_fn is None:
            return wait()
    how = "template" if is_marker else "function"
    asked = str(context["task"].logical_date) if is_marker else task.execution_date_fn
    if asked == _SAME_DATE:
        return wait()
    if asked not in renderer.mapped:
        renderer.mapped[asked] = _mapped(asked, task, renderer, context)
    return wait(how=how, **renderer.mapped[asked])


_SAME_DATE = "{{ logical_date.isoformat() }}"
"""The default of a marker."""


def _mapped(asked: Any, task: Any, renderer: _Renderer, context: Mapping[str, Any]) -> dict[str, Any]:
    """``delta`` or ``dates`` of a :class:`Wait` whose dates a template or a function gives for each run; or its ``error``."""
    found: list[tuple[datetime, list[datetime]]] = []
    try:
        template = renderer.environment.from_string(asked) if isinstance(asked, str) else None
        for dates in renderer.dates:
            names = {**context, **dates}
            given = task._handle_execution_date_fn(context=names) if template is None else template.render(names)
            given = list(given) if isinstance(given, list | tuple) else [given]
            found.append((dates["logical_date"], [_moment(each) for each in given]))
    except Exception as error:
        return {"delta": None, "error": _words(error)}
    shifts = {own.timestamp() - other.timestamp() for own, others in found for other in others}
    if len(shifts) == 1 and all(len(others) == 1 for _, others in found):
        return {"delta": shifts.pop()}
    return {"delta": None, "dates": tuple((_utc(own), tuple(_utc(each) for each in others)) for own, others in found)}


def _dates_of(run: tuple[datetime, ...]) -> dict[str, Any]:
    """What of the context depends on the run's date."""
    logical, start, end = (pendulum.instance(each).in_timezone("UTC") for each in run)
    ds = logical.strftime("%Y-%m-%d")
    return {
        "logical_date": logical,
        "data_interval_start": start,
        "data_interval_end": end,
        "ds": ds,
        "ds_nodash": ds.replace("-", ""),
        "ts": logical.isoformat(),
        "ts_nodash": logical.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": logical.isoformat().replace("-", "").replace(":", ""),
    }


def _moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else pendulum.parse(str(value))
    if not isinstance(moment, datetime):
        raise TypeError(f"{value!r} is no date")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def query_of(task: Any, values: Mapping[str, Any], errors: Mapping[str, str], image: str | None) -> Query | None:
    """The BigQuery job of a query task; None where it is none."""
    kinds = {base.__name__ for base in type(task).__mro__}
    if "BigQueryRunBqetlOperator" in kinds:
        return _bqetl_query("native", values, errors)
    if image is not None and (declared := image_of(image)) is not None and declared.name in _BQETL_IMAGES:
        return _bqetl_query("pod", values, errors)
    if "BigQueryInsertJobOperator" in kinds:
        return _job(values, errors, getattr(task, "project_id", None))
    return None


def _bqetl_query(engine: str, values: Mapping[str, Any], errors: Mapping[str, str]) -> Query | None:
    if "arguments" in errors:
        return Query(engine, error=errors["arguments"])
    arguments = values.get("arguments") or []
    if not isinstance(arguments, list) or flags.bqetl_command([str(each) for each in arguments])[:1] not in (
        ["query"],
        ["check"],
    ):
        return None
    try:
        command = flags.parsed([str(each) for each in arguments])
        return None if command is None else _of_command(engine, *command)
    except (WtmoError, ValueError) as error:
        return Query(engine, error=_words(error) if not isinstance(error, WtmoError) else error.what)


def _of_command(engine: str, kind: str, options: Any) -> Query:
    """What the runner makes of its arguments; see :mod:`utils.bqetl.plans`."""
    named = {"query": "name", "multipart": "query_dir", "check": "path"}[kind]
    file = str(getattr(options, named)).rstrip("/")
    parts = file.split("/")
    folder = parts[parts.index("sql") + 1 :] if "sql" in parts else []
    project, dataset = (folder[0], folder[1]) if len(folder) >= _TABLE_FOLDER_DEPTH - 2 else ("", "")
    own = options.project_id or project
    if kind == "check":
        target, billed = (own, dataset), options.billing_project or own
        return Query(
            engine,
            file=f"{file}/checks.sql" if folder else file,
            parameters=tuple(options.parameter),
            project=billed or None,
            dataset=".".join(target) if all(target) else None,
        )
    of_dataset = jobs.split_dataset(options.dataset_id, own, dataset)
    written = options.destination_table
    destination = jobs.qualified(written, *of_dataset) if written and not file.endswith("script.sql") else None
    return Query(
        engine,
        file=file,
        destination=destination,
        parameters=tuple(options.parameter),
        project=(options.billing_project if kind == "query" else None) or own or None,
        dataset=".".join(of_dataset) if all(of_dataset) else None,
    )


def _job(values: Mapping[str, Any], errors: Mapping[str, str], project: str | None) -> Query | None:
    if "configuration" in errors:
        return Query("native", error=errors["configuration"])
    configuration = values.get("configuration")
    query = configuration.get("query") if isinstance(configuration, dict) else None
    if not isinstance(query, dict):
        return None
    table, default = query.get("destinationTable") or {}, query.get("defaultDataset") or {}
    return Query(
        "native",
        sql=query.get("query"),
        destination=".".join(str(table.get(part, "")) for part in ("projectId", "datasetId", "tableId"))
        if table
        else None,
        parameters=tuple(
            f"{each.get('name', '')}:{each.get('parameterType', {}).get('type', '')}:{each.get('parameterValue', {}).get('value', '')}"
            for each in query.get("queryParameters") or []
        ),
        project=values.get("project_id") or project,
        dataset=".".join(str(default.get(part, "")) for part in ("projectId", "datasetId")) if default else None,
    )


_CALLBACKS = tuple(f"on_{event}_callback" for event in ("execute", "failure", "retry", "skipped", "success"))
_OF_OTHER_CLUSTERS = "kubernetes_conn_id"


def connections_of(task: Any, values: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """Ids of the Airflow connections that a task, its callbacks and its templates name."""
    found = {name.split(".")[1] for name in names if name.startswith("conn.")}
    given = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
    holders = [given]
    for name in _CALLBACKS:
        called = getattr(task, name, None)
        for each in called if isinstance(called, list | tuple) else [called]:
            if isinstance(each, BaseNotifier):
                holders.append(vars(each))
                found |= {
                    name.split(".")[1]
                    for field in each.template_fields
                    for _, text in texts(getattr(each, field, None), field, ())
                    for name in _names_or_none(text)
                    if name.startswith("conn.")
                }
    for holder in holders:
        for name, value in holder.items():
            if not name.endswith("conn_id") or (name == _OF_OTHER_CLUSTERS and "gcp_conn_id" in given):
                continue
            told = values.get(name, value) if holder is given else value
            if isinstance(told, str) and told:
                found.add(told)
    return tuple(sorted(found))


def _names_or_none(text: str) -> tuple[str, ...]:
    try:
        return names_of(text)
    except jinja2.TemplateSyntaxError:
        return ()


def variables_of(names: Iterable[str]) -> tuple[str, ...]:
    """Names of the Airflow variables that templates use."""
    found = {tuple(name.split(".")[1:3]) for name in names if name.startswith(("var.value.", "var.json."))}
    return tuple(sorted({name[1] for name in found if len(name) == 2 and name[1] != "get"}))


# --- a task, a DAG, a file


def describe_task(task: Any, renderer: _Renderer, lines: Mapping[int, int]) -> Task:
    """All about a task."""
    is_mapped = isinstance(task, MappedOperator)
    operator: Any = task.operator_class if is_mapped else type(task)
    facts: dict[str, Any] = {
        "task_id": task.task_id,
        "kind": operator.__name__,
        "classes": tuple(f"{base.__module__}.{base.__qualname__}" for base in operator.__mro__ if base is not object),
        "line": lines.get(id(task)),
        "group": shape.group_of(task),
        "upstream": tuple(sorted(task.upstream_task_ids)),
        "mapped": is_mapped or task.get_closest_mapped_task_group() is not None,
        "attributes": _attributes(task),
    }
    if (function := getattr(task, "python_callable", None)) is not None:
        facts["calls"] = _name_of(function)
    try:
        context = _with_task(renderer.context, task)
    except Exception as error:
        return Task(**facts, pod_error=_words(error))
    if is_mapped:
        return Task(**facts, **_of_mapped(task, operator, renderer, context))
    rendered = _Rendered(task, renderer, context)
    names = {name for each in rendered.templates for name in each.names}
    facts |= {"templates": tuple(rendered.templates), "rendered": rendered.values}
    image = None
    if isinstance(task, KubernetesPodOperator):
        manifest, facts["pod_error"] = pod_of(rendered, context)
        facts["pod"] = manifest
        facts["secrets"] = secrets_of(manifest) if manifest else ()
        image = str(plain(rendered.task.image))
        declared = image_of(image)
        facts["image"] = (None if declared is None else declared.name, image)
    if isinstance(task, ExternalTaskMarker | ExternalTaskSensor):
        facts["waits"] = wait_of(rendered, renderer, context)
        facts["marker"] = isinstance(task, ExternalTaskMarker)
    if isinstance(task, TriggerDagRunOperator):
        facts["starts"] = str(plain(rendered.task.trigger_dag_id))
    return Task(
        **facts,
        query=query_of(task, rendered.values, rendered.errors, image),
        connections=connections_of(task, rendered.values, names),
        variables=variables_of(names),
    )


def _of_mapped(task: Any, operator: Any, renderer: _Renderer, context: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a task before it is expanded: what all its instances share."""
    expanded = "its values are known when it is expanded at run time"
    templates = [
        renderer.text(task, path, text, context)
        for name in task.template_fields
        for path, text in texts(task.partial_kwargs.get(name), name, tuple(task.template_ext or ()))
    ]
    names = {name for each in templates for name in each.names}
    image = task.partial_kwargs.get("image")
    is_pod = issubclass(operator, KubernetesPodOperator)
    declared = image_of(image) if is_pod and isinstance(image, str) else None
    starts = task.partial_kwargs.get("trigger_dag_id") if issubclass(operator, TriggerDagRunOperator) else None
    return {
        "templates": tuple(templates),
        "rendered": dict.fromkeys(task.template_fields),
        "pod_error": expanded if is_pod else None,
        "image": (declared.name if declared else None, image) if is_pod and isinstance(image, str) else None,
        "starts": starts if isinstance(starts, str) else None,
        "waits": Wait("", how="template", delta=None, error=expanded)
        if issubclass(operator, ExternalTaskSensor | ExternalTaskMarker)
        else None,
        "marker": issubclass(operator, ExternalTaskMarker),
        "connections": connections_of(task, {}, names),
        "variables": variables_of(names),
    }


def _attributes(task: Any) -> dict[str, Any]:
    found = shape.given(task)
    if hasattr(task, "fits_interval"):
        found["fits_interval"] = task.fits_interval
    return {name: _told(name, value) for name, value in sorted(shape.without_idle(found).items())}


def describe_dag(dag: DAG, day: datetime, bundle: str, file: str, lines: Mapping[int, int]) -> DagFacts:
    """All about a DAG.

    :param day: for which dates are worked out, midnight in UTC.
    """
    serialized = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    stored = DagSerialization.from_dict(serialized)
    tasks = list(dag.tasks)
    bounds = shape.effective_dates(dag.start_date, dag.end_date, tasks)
    start, end = (datetime.fromisoformat(each) if each else None for each in bounds.values())
    dates = fires(stored.timetable, start, end, day)
    started = not dates
    run = dates[0] if dates else _by_hand(stored.timetable, day)
    renderer = _Renderer(dag, context_of(dag, run, started=started), dates or [run])
    groups = dag.task_group.get_task_group_dict()
    return DagFacts(
        dag_id=dag.dag_id,
        bundle=bundle,
        file=file,
        line=lines.get(id(dag)),
        schedule=_schedule(dag.timetable, stored.timetable),
        fires=tuple((_utc(a), _utc(b), _utc(c)) for a, b, c in dates),
        run=Run(_utc(run[0]), _utc(run[1]), _utc(run[2]), started),
        **bounds,
        tags=tuple(sorted(map(str, dag.tags))),
        attributes={name: _attribute_of_dag(name, getattr(dag, name, None)) for name in shape.OF_DAGS},
        default_args=plain(dag.default_args),
        unknown_default_args=_unknown_keys(dag),
        params={name: _param(value) for name, value in dag.params.items()},
        groups={
            str(key): group.parent_group.group_id
            for key, group in groups.items()
            if key is not None and group.parent_group
        },
        deadline=bool(getattr(dag, "deadline", None)),
        serialized=_digest(serialized),
        tasks=tuple(sorted((describe_task(task, renderer, lines) for task in tasks), key=lambda task: task.task_id)),
    )


def _unknown_keys(dag: DAG) -> tuple[str, ...]:
    # The tree that the file is loaded with may be older than this check.
    check: Callable[[DAG], tuple[str, ...]] | None = getattr(policy, "unknown_keys", None)
    return () if check is None else tuple(check(dag))


def _attribute_of_dag(name: str, value: Any) -> Any:
    return sorted(value or {}) if name in {"user_defined_macros", "user_defined_filters"} else _told(name, value)


def _told(name: str, value: Any) -> Any:
    """The value of an attribute: of a function that Airflow calls on an event, what it does in a line."""
    if name not in _CALLBACKS:
        return plain(value)
    if isinstance(value, list | tuple):
        return [_told(name, each) for each in value]
    return repr(value) if is_dataclass(value) else plain(value)


def _by_hand(timetable: Any, day: datetime) -> tuple[datetime, ...]:
    moment = pendulum.instance(day)
    try:
        interval = timetable.infer_manual_data_interval(run_after=moment)
    except Exception:  # a timetable of somebody's own: the run is told without its interval
        return moment, moment, moment
    return moment, interval.start, interval.end


def _schedule(timetable: Any, stored: Any) -> dict[str, Any]:
    """As :func:`wtmo.imports.shape.schedule`, and the assets that it waits for."""
    found = {name: plain(value) for name, value in shape.schedule(timetable).items()}
    condition = getattr(stored, "asset_condition", None)
    if condition is None:
        return found
    assets = sorted({(asset.name, asset.uri) for _, asset in condition.iter_assets()})
    return found | {"assets": [{"name": name, "uri": uri} for name, uri in assets]}


def _digest(serialized: dict[str, Any]) -> str:
    own = {
        name: value for name, value in serialized["dag"].items() if "fileloc" not in name and not name.startswith("_")
    }
    return hashlib.sha256(json.dumps(serialized | {"dag": own}, sort_keys=True).encode()).hexdigest()


def describe(dags: Iterable[DAG], watch: Watch, day: str, bundle: str, file: str) -> dict[str, Any]:
    """The DAGs of a file, by their ids, as the ``dags`` of a :class:`wtmo.graph.model.File`; or a refusal.

    :param day: ``YYYY-MM-DD``, for which dates are worked out.
    """
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    _share_configuration()
    found = []
    for dag in sorted(dags, key=lambda each: each.dag_id):
        try:
            found.append(describe_dag(dag, moment, bundle, file, watch.lines))
        except Exception as error:
            reason = f"DAG {dag.dag_id!r} can't be serialized: {_words(error)}"
            return {"refused": reason, "refused_kind": "serialize", "line": watch.lines.get(id(dag))}
    return {"dags": [dag.to_json() for dag in found]}


class Clock:
    """CPU time and imports of a stretch of code."""

    def __init__(self) -> None:
        self._began = time.process_time()
        self._modules = set(sys.modules)

    @cached_property
    def seconds(self) -> float:
        """Until this is first asked for."""
        return round(time.process_time() - self._began, 4)

    @cached_property
    def imports(self) -> list[str]:
        """Top-level names of the modules that came, until this is first asked for. The file's own is none."""
        new = {name.partition(".")[0] for name in set(sys.modules) - self._modules}
        return sorted(name for name in new if not name.startswith("unusual_prefix_"))
