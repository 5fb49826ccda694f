"""Runs a file written for Airflow 2.10 without Airflow 2, and tells its shape. Runs in the sandbox only.

The names that such files import from Airflow are replaced by recorders: classes that take the keywords of Airflow 2.10, fill in
its defaults, merge ``default_args``, and keep the edges. What a file imports from this repository (``utils.gcp``) is the real
thing over the recorder of ``GKEPodOperator``. Operators that are the same classes in both versions (pods, sensors of BigQuery,
Fivetran) are built for real afterwards, of the keywords that were recorded, so that their own defaults are theirs.

A name of Airflow or a keyword that is not known here is an error: it can't be told what it does.

Source of the defaults and of how arguments are merged: apache-airflow 2.10.5, ``airflow/models/dag.py``,
``airflow/models/baseoperator.py``, ``airflow/utils/task_group.py``, ``airflow/sensors/external_task.py``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import inspect
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.providers.google.cloud.sensors import bigquery
from airflow.sdk import TriggerRule, WeightRule
from airflow.sdk.definitions._internal.contextmanager import DagContext

from operators.fivetran import FivetranOperator
from operators.gcp_container_operator import GKEPodOperator
from wtmo.imports import shape as shapes
from wtmo.imports.contract import RETIRED
from wtmo.imports.shape import ShapeError, attribute, canonical

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

_PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}
_PURGED = ("airflow", "fivetran_provider_async", "operators", "utils")
_NOT_GIVEN = object()
_OF_DAGS_IN_2 = {
    "concurrency": "max_active_tasks",
    "fail_stop": "fail_fast",
}
_WITHOUT_EFFECT = {"default_view", "orientation", "full_filepath", "auto_register", "dag_display_name"}
_OF_TASKS_IN_2 = {"task_concurrency": "max_active_tis_per_dag"}
_TASKS_WITHOUT_EFFECT = {"provide_context", "task_display_name"}


class RecordError(Exception):
    """A file that can't be recorded, and why.

    :param line: line of the file, if one can be told.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


class _UnknownNameError(ImportError):
    """A name of Airflow 2 that nothing stands for here."""


# --- what files call


class _Node:
    """What edges join: a task, or a group of them."""

    def tasks(self) -> Iterator[Task]:
        """The tasks in it."""
        raise NotImplementedError

    def roots(self) -> list[Task]:
        """Those that nothing in it comes before."""
        own = {task.task_id for task in self.tasks()}
        return [task for task in self.tasks() if not task.upstream & own]

    def leaves(self) -> list[Task]:
        """Those that nothing in it comes after."""
        own = {task.task_id for task in self.tasks()}
        return [task for task in self.tasks() if not task.downstream & own]

    def set_upstream(self, other: Any) -> None:
        _join(other, self)

    def set_downstream(self, other: Any) -> None:
        _join(self, other)

    def __rshift__(self, other: Any) -> Any:
        _join(self, other)
        return other

    def __lshift__(self, other: Any) -> Any:
        _join(other, self)
        return other

    def __rrshift__(self, other: Any) -> Self:
        _join(other, self)
        return self

    def __rlshift__(self, other: Any) -> Self:
        _join(self, other)
        return self


class Group(_Node):
    """``TaskGroup``."""

    stack: ClassVar[list[Group]] = []

    def __init__(
        self,
        group_id: str | None,
        prefix_group_id: bool = True,
        parent_group: Group | None = None,
        dag: Dag | None = None,
        default_args: Mapping[str, Any] | None = None,
        tooltip: str = "",
        ui_color: str = "",
        ui_fgcolor: str = "",
        add_suffix_on_collision: bool = False,
    ) -> None:
        del tooltip, ui_color, ui_fgcolor
        if add_suffix_on_collision:
            raise TypeError("add_suffix_on_collision: the recorder does not know what it would do")
        self.prefix_group_id = prefix_group_id
        self.default_args = dict(default_args or {})
        self.used = False
        if group_id is None:  # a DAG's root
            self.dag, self.parent, self.group_id = dag, None, None
        else:
            given = parent_group or (Group.stack[-1] if Group.stack else None)
            self.dag = dag or (given.dag if given is not None else None) or Dag.current()
            if self.dag is None:
                raise TypeError("TaskGroup can only be used inside a dag")
            self.parent = given if given is not None else self.dag.root
            self.default_args = {**self.parent.default_args, **self.default_args}
            self.group_id = self.parent.child_id(group_id)
            if self.group_id in self.dag.groups or self.group_id in self.dag.tasks:
                raise TypeError(f"group id {self.group_id!r} has already been added to the DAG")
            self.dag.groups[self.group_id] = self
        self.children: list[Task | Group] = []
        if self.parent is not None:
            self.parent.children.append(self)

    def child_id(self, label: str) -> str:
        """The id of a task or group in here."""
        prefix = self
        while prefix.group_id is not None and not prefix.prefix_group_id and prefix.parent is not None:
            prefix = prefix.parent
        return f"{prefix.group_id}.{label}" if prefix.group_id else label

    def tasks(self) -> Iterator[Task]:
        """The tasks in it, those of inner groups too."""
        for child in self.children:
            yield from child.tasks() if isinstance(child, Group) else (child,)

    def __enter__(self) -> Self:
        Group.stack.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        Group.stack.pop()


class Dag:
    """``DAG``."""

    stack: ClassVar[list[Dag]] = []
    all: ClassVar[list[Dag]] = []

    def __init__(
        self,
        dag_id: str,
        description: str | None = None,
        schedule: Any = _NOT_GIVEN,
        schedule_interval: Any = _NOT_GIVEN,
        timetable: Any = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        default_args: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        self.dag_id = dag_id
        self.default_args = dict(default_args or {})
        self.params = {**self.default_args.pop("params", {}), **(given.pop("params", None) or {})}
        schedules = [each for each in (schedule, schedule_interval, timetable or _NOT_GIVEN) if each is not _NOT_GIVEN]
        if len(schedules) > 1:
            raise ValueError("at most one of schedule, schedule_interval and timetable")
        zone = next(
            (
                each.tzinfo
                for each in (start_date, self.default_args.get("start_date"))
                if each is not None and each.tzinfo
            ),
            UTC,
        )
        # Without any, Airflow 2 runs a DAG daily.
        self.schedule = _schedule(schedules[0] if schedules else timedelta(days=1), zone)
        self.start_date, self.end_date = _aware(start_date), _aware(end_date)
        self.attributes = dict(shapes.OF_DAGS) | {"description": description, "params": self.params}
        for name, value in given.items():
            known = _OF_DAGS_IN_2.get(name, name)
            if name in _WITHOUT_EFFECT:
                continue
            if known not in self.attributes:
                raise TypeError(f"the recorder does not know DAG({name}=)")
            self.attributes[known] = value
        self.tasks: dict[str, Task] = {}
        self.groups: dict[str, Group] = {}
        self.root = Group(None, dag=self)
        Dag.all.append(self)

    @staticmethod
    def current() -> Dag | None:
        """The DAG whose ``with`` block is open."""
        return Dag.stack[-1] if Dag.stack else None

    def __enter__(self) -> Self:
        Dag.stack.append(self)
        Group.stack.append(self.root)
        return self

    def __exit__(self, *_: object) -> None:
        Group.stack.pop()
        Dag.stack.pop()


class Task(_Node):
    """What all operators have. A subclass names its own keywords and their defaults, or the class that it will be built of."""

    kind: ClassVar[str]
    own: ClassVar[dict[str, Any]] = {}
    renamed: ClassVar[dict[str, str]] = {}
    built_of: ClassVar[type | None] = None

    def __init__(self, *, task_id: str, dag: Dag | None = None, task_group: Group | None = None, **given: Any) -> None:
        group = task_group or (Group.stack[-1] if Group.stack and dag is None else None)
        self.dag = dag or (group.dag if group is not None else None) or Dag.current()
        if self.dag is None:
            raise TypeError(f"task {task_id!r} is in no DAG")
        self.task_group = group if group is not None else self.dag.root
        self.task_id = self.task_group.child_id(task_id)
        known = self.known()
        defaults = {**self.dag.default_args, **self.task_group.default_args, **(given.pop("default_args", None) or {})}
        defaults = {name: value for name, value in defaults.items() if name in known}
        self.values: dict[str, Any] = {}
        for source in (defaults, given):
            for name, value in source.items():
                if name in _TASKS_WITHOUT_EFFECT:
                    continue
                if name not in known:
                    raise TypeError(f"the recorder does not know {self.kind}({name}=)")
                self.values[known[name]] = value
        self.start_date = _latest(_aware(self.values.get("start_date")), self.dag.start_date)
        self.end_date = _earliest(_aware(self.values.get("end_date")), self.dag.end_date)
        self.values |= {"start_date": self.start_date, "end_date": self.end_date}
        if self.values.get("wait_for_downstream"):
            self.values["depends_on_past"] = True
        self.upstream: set[str] = set()
        self.downstream: set[str] = set()
        if self.task_id in self.dag.tasks or self.task_id in self.dag.groups:
            raise TypeError(f"task id {self.task_id!r} has already been added to the DAG")
        self.dag.tasks[self.task_id] = self
        self.task_group.children.append(self)

    @classmethod
    def known(cls) -> dict[str, str]:
        """Each keyword that it takes, and the attribute of Airflow 3 that holds it."""
        names = {**_named(shapes.OF_OPERATORS), **_OF_TASKS_IN_2, **_named(cls.own), **cls.renamed}
        if cls.built_of is not None:
            for base in cls.built_of.__mro__:
                if "__init__" in vars(base) and base is not object:
                    names |= _named(_parameters(base))
        return {
            name: known for name, known in names.items() if name not in {"self", "kwargs", "args", "task_id", "dag"}
        }

    def attributes(self) -> dict[str, Any]:
        """Everything that Airflow 3 should hold for this task."""
        common = shapes.OF_OPERATORS | {
            name: value for name, value in self.values.items() if name in shapes.OF_OPERATORS
        }
        if self.dag is not None and self.dag.params:
            common["params"] = {**self.dag.params, **(common["params"] or {})}
        common["email"] = shapes.addresses(common["email"])
        if self.built_of is None:
            own = {
                **self.own,
                **{name: value for name, value in self.values.items() if name not in shapes.OF_OPERATORS},
            }
            own = self.seen(own)
            return shapes.without_idle({
                name: attribute(name, value) for name, value in sorted({**common, **own}.items())
            })
        # Built in no DAG: what it has of its own comes of its keywords alone.
        with _no_dag():
            built = self.built_of(
                task_id="task", **{name: value for name, value in self.values.items() if name != "params"}
            )
        found = shapes.attributes(built)
        special = {"do_xcom_push"} - self.values.keys()
        return shapes.without_idle(
            found | {name: attribute(name, value) for name, value in common.items() if name not in special}
        )

    def seen(self, own: dict[str, Any]) -> dict[str, Any]:
        """Its own attributes as the operator of Airflow 3 holds them."""
        return own

    def tasks(self) -> Iterator[Task]:
        """Itself."""
        yield self


class EmptyTask(Task):
    """``EmptyOperator``, ``DummyOperator``."""

    kind = "EmptyOperator"


class SensorTask(Task):
    """``ExternalTaskSensor``."""

    kind = "ExternalTaskSensor"
    own: ClassVar[dict[str, Any]] = shapes.OF_SENSORS | shapes.OF_EXTERNAL_TASK_SENSORS
    renamed: ClassVar[dict[str, str]] = {"external_task_id": "external_task_id", "poll_interval": "poke_interval"}

    def seen(self, own: dict[str, Any]) -> dict[str, Any]:
        """One task is a list of one; states are lists."""
        one = own.pop("external_task_id", None)
        return own | ({"external_task_ids": [one]} if one is not None else {})


class MarkerTask(Task):
    """``ExternalTaskMarker``."""

    kind = "ExternalTaskMarker"
    own: ClassVar[dict[str, Any]] = shapes.OF_EXTERNAL_TASK_MARKERS
    renamed: ClassVar[dict[str, str]] = {"execution_date": "logical_date"}


class PodTask(Task):
    """``GKEPodOperator``, also through ``utils.gcp``."""

    kind = "GKEPodOperator"
    built_of = GKEPodOperator
    renamed: ClassVar[dict[str, str]] = {"reattach_on_restart": "durable"}


class FivetranTask(Task):
    """``FivetranOperator``."""

    kind = "FivetranOperator"
    built_of = FivetranOperator


class TableTask(Task):
    """``BigQueryTableExistenceSensor``."""

    kind = "BigQueryTableExistenceSensor"
    built_of = bigquery.BigQueryTableExistenceSensor
    renamed: ClassVar[dict[str, str]] = {"polling_interval": "poke_interval"}


class PartitionTask(Task):
    """``BigQueryTablePartitionExistenceSensor``."""

    kind = "BigQueryTablePartitionExistenceSensor"
    built_of = bigquery.BigQueryTablePartitionExistenceSensor
    renamed: ClassVar[dict[str, str]] = {"polling_interval": "poke_interval"}


class _State:
    """``State``, ``TaskInstanceState``, ``DagRunState`` of Airflow 2: members are their own names in small letters."""

    def __getattr__(self, name: str) -> str:
        if name not in {
            *("SUCCESS", "RUNNING", "FAILED", "QUEUED", "SCHEDULED", "SKIPPED", "REMOVED", "RESTARTING", "DEFERRED"),
            *("UPSTREAM_FAILED", "UP_FOR_RESCHEDULE", "UP_FOR_RETRY"),
        }:
            raise AttributeError(f"the recorder does not know State.{name}")
        return name.lower()


def _cron(cron: str, timezone: Any = "UTC") -> SimpleNamespace:
    return SimpleNamespace(kind="CronDataIntervalTimetable", expression=_PRESETS.get(cron, cron), timezone=timezone)


def _cron_trigger(cron: str, *, timezone: Any, interval: timedelta | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        kind="CronTriggerTimetable", expression=_PRESETS.get(cron, cron), timezone=timezone, interval=interval
    )


def _delta(delta: timedelta) -> SimpleNamespace:
    return SimpleNamespace(kind="DeltaDataIntervalTimetable", delta=delta)


_EXTERNAL = {"ExternalTaskSensor": SensorTask, "ExternalTaskMarker": MarkerTask}
_STATES = {"State": _State(), "TaskInstanceState": _State(), "DagRunState": _State()}
NAMES: dict[str, dict[str, Any]] = {
    "airflow": {"DAG": Dag},
    "airflow.models": {"DAG": Dag},
    "airflow.models.dag": {"DAG": Dag},
    "airflow.utils.task_group": {"TaskGroup": Group},
    "airflow.sensors.external_task": _EXTERNAL,
    "airflow.sensors.external_task_sensor": _EXTERNAL,
    "airflow.operators.sensors": _EXTERNAL,
    "airflow.operators.empty": {"EmptyOperator": EmptyTask},
    "airflow.operators.dummy": {"DummyOperator": EmptyTask},
    "airflow.operators.dummy_operator": {"DummyOperator": EmptyTask},
    "airflow.providers.standard.operators.empty": {"EmptyOperator": EmptyTask},
    "airflow.providers.standard.sensors.external_task": _EXTERNAL,
    "airflow.providers.google.cloud.sensors.bigquery": {
        "BigQueryTableExistenceSensor": TableTask,
        "BigQueryTablePartitionExistenceSensor": PartitionTask,
    },
    "airflow.providers.cncf.kubernetes.secret": {"Secret": Secret},
    "airflow.kubernetes.secret": {"Secret": Secret},
    "airflow.contrib.kubernetes.secret": {"Secret": Secret},
    "airflow.utils.state": _STATES,
    "airflow.utils.trigger_rule": {"TriggerRule": TriggerRule},
    "airflow.utils.weight_rule": {"WeightRule": WeightRule},
    "airflow.timetables.interval": {"CronDataIntervalTimetable": _cron, "DeltaDataIntervalTimetable": _delta},
    "airflow.timetables.trigger": {"CronTriggerTimetable": _cron_trigger},
    "fivetran_provider_async.operators": {"FivetranOperator": FivetranTask},
    "operators.gcp_container_operator": {"GKEPodOperator": PodTask},
}
"""Module and name of Airflow 2.10, and what stands for it."""


# --- running a file


def record(path: Path) -> list[dict[str, Any]]:
    """The shapes of a file's DAGs, sorted by id.

    :param path: the file, by whose name Python reports its lines.
    :raises RecordError: it does not run, or does what is not known here.
    """
    loader = importlib.machinery.SourceFileLoader("recorded", str(path))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    Dag.all.clear()
    with _replaced():
        try:
            for retired in RETIRED:
                _provide(*retired.rsplit(".", 1))
            loader.exec_module(module)
        except BaseException as error:
            raise RecordError(f"{type(error).__name__}: {error}", _line(error, loader.path)) from None
    if not Dag.all:
        raise RecordError("there is no DAG in it")
    shapes.templates_of_airflow_2()
    try:
        return [_shape(dag) for dag in sorted(Dag.all, key=lambda dag: dag.dag_id)]
    except (ShapeError, TypeError, ValueError) as error:
        raise RecordError(f"{type(error).__name__}: {error}") from None


def _provide(module: str, name: str) -> None:
    """A helper that is gone: old files import it, and most don't use it."""

    def gone(*_: Any, **__: Any) -> None:
        raise _UnknownNameError(f"{module}.{name} is gone")

    setattr(importlib.import_module(module), name, gone)


def _shape(dag: Dag) -> dict[str, Any]:
    tasks = dag.tasks.values()
    return {
        "dag_id": dag.dag_id,
        "dag": {
            **{name: attribute(name, _sorted_tags(name, value)) for name, value in dag.attributes.items()},
            "schedule": dag.schedule,
            **shapes.effective_dates(dag.start_date, dag.end_date, tasks),
        },
        "groups": {key: {"parent": group.parent.group_id} for key, group in dag.groups.items() if group.parent},
        "edges": sorted([task.task_id, below] for task in tasks for below in task.downstream),
        "tasks": {
            task.task_id: {"kind": task.kind, "group": task.task_group.group_id, "attributes": task.attributes()}
            for task in tasks
        },
    }


def _sorted_tags(name: str, value: Any) -> Any:
    return set(value) if name == "tags" and value else value


@contextmanager
def _replaced() -> Generator[None]:
    """Airflow 2's names in place of the modules that are loaded."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in _PURGED}
    for name in before:
        del sys.modules[name]
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] in _PURGED]:
            del sys.modules[name]
        sys.modules.update(before)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of :data:`NAMES`, and refuses all others of Airflow."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname in NAMES or any(known.startswith(f"{fullname}.") for known in NAMES):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname.split(".")[0] in {"airflow", "fivetran_provider_async", "operators"}:
            raise _UnknownNameError(f"the recorder does not know the module {fullname}")
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(NAMES.get(module.__name__, {}))


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or f"{self.__name__}.{name}" in sys.modules:
            raise AttributeError(name)
        raise _UnknownNameError(f"the recorder does not know {self.__name__}.{name}")


@contextmanager
def _no_dag() -> Generator[None]:
    """No DAG of Airflow 3 is current: none was made in this process, so there is nothing to leave."""
    if DagContext.get_current() is not None:
        raise RecordError("the file made a DAG of Airflow 3")
    yield


def _line(error: BaseException, name: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return lines[-1] if lines else None


def _join(above: Any, below: Any) -> None:
    for upper in above if isinstance(above, Iterable) else (above,):
        for lower in below if isinstance(below, Iterable) else (below,):
            if not isinstance(upper, Task | Group) or not isinstance(lower, Task | Group):
                raise TypeError(f"an edge between {type(upper).__name__} and {type(lower).__name__}")
            for first in upper.leaves():
                for second in lower.roots():
                    first.downstream.add(second.task_id)
                    second.upstream.add(first.task_id)


def _schedule(value: Any, zone: Any) -> dict[str, Any]:
    """A schedule as :func:`wtmo.imports.shape.schedule` tells it; those by interval keep Airflow 2's data intervals."""
    where = str(getattr(zone, "name", None) or zone)
    if isinstance(value, SimpleNamespace):
        found = vars(value) | (
            {"timezone": str(getattr(value.timezone, "name", value.timezone))}
            if "timezone" in vars(value)
            else {"timezone": None}
        )
        return {name: canonical(each) for name, each in found.items() if name != "interval" or each}
    if isinstance(value, timedelta):
        return {"kind": "DeltaDataIntervalTimetable", "delta": value.total_seconds(), "timezone": None}
    if value in {None, "@once", "@continuous"}:
        kind = {None: "NullTimetable", "@once": "OnceTimetable", "@continuous": "ContinuousTimetable"}[value]
        return {"kind": kind, "timezone": None}
    if isinstance(value, str):
        return {"kind": "CronDataIntervalTimetable", "expression": _PRESETS.get(value, value), "timezone": where}
    raise TypeError(f"the recorder does not know a schedule of type {type(value).__name__}")


def _aware(value: datetime | None) -> datetime | None:
    return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


def _latest(*dates: datetime | None) -> datetime | None:
    return max((each for each in dates if each is not None), default=None)


def _earliest(*dates: datetime | None) -> datetime | None:
    return min((each for each in dates if each is not None), default=None)


def _named(values: Iterable[str]) -> dict[str, str]:
    return {name: name for name in values}


def _parameters(base: type) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, each in inspect.signature(vars(base)["__init__"]).parameters.items() if each.kind in kinds]
