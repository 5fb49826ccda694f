"""What a DAG is, as plain data: what two versions of a file are compared by. Runs in the sandbox only.

A shape is a JSON object: ``dag_id``, ``dag`` (its own attributes), ``groups`` (each with its parent), ``edges`` (pairs of task ids),
``tasks`` (each with ``kind``, ``group`` and ``attributes``). Durations are seconds, times ISO 8601 in UTC, and nothing, an empty list
and an empty mapping are one: null.

A template is what it renders to, in a scheduled run and in a run that somebody started: names of the context may
differ between Airflow 2 and 3, but not what they mean. ``{"template": text, "renders": [...]}``; where it can't be rendered, the
error stands in place of the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
import pendulum
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk.definitions._internal.templater import SandboxedEnvironment
from airflow.sdk.execution_time import macros

from wtmo.imports.contract import TEXT_KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import DAG, BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator

KINDS = (
    "ExternalTaskSensor",
    "ExternalTaskMarker",
    "EmptyOperator",
    "BigQueryTableExistenceSensor",
    "BigQueryTablePartitionExistenceSensor",
    "FivetranOperator",
    "GKEPodOperator",
)
"""Classes of tasks that imported files name. A subclass of ours counts as the class that it replaces."""

OF_OPERATORS: dict[str, Any] = {
    "owner": "airflow",
    "email": None,
    "email_on_retry": True,
    "email_on_failure": True,
    "retries": 0,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": False,
    "max_retry_delay": None,
    "start_date": None,
    "end_date": None,
    "depends_on_past": False,
    "ignore_first_depends_on_past": True,
    "wait_for_past_depends_before_skipping": False,
    "wait_for_downstream": False,
    "trigger_rule": "all_success",
    "priority_weight": 1,
    "weight_rule": "downstream",
    "queue": "default",
    "pool": "default_pool",
    "pool_slots": 1,
    "execution_timeout": None,
    "max_active_tis_per_dag": None,
    "max_active_tis_per_dagrun": None,
    "do_xcom_push": True,
    "multiple_outputs": False,
    "run_as_user": None,
    "executor": None,
    "executor_config": None,
    "params": None,
    "resources": None,
    "doc": None,
    "doc_md": None,
    "doc_json": None,
    "doc_yaml": None,
    "doc_rst": None,
    "map_index_template": None,
    "inlets": None,
    "outlets": None,
    "on_execute_callback": None,
    "on_failure_callback": None,
    "on_retry_callback": None,
    "on_skipped_callback": None,
    "on_success_callback": None,
    "allow_nested_operators": True,
    "is_setup": False,
    "is_teardown": False,
}
"""Attributes of every task and Airflow 2.10's defaults (airflow/models/baseoperator.py and, for the first past run, the setting
``[scheduler] ignore_first_depends_on_past_by_default`` of 2.10.5).
"""

OF_SENSORS: dict[str, Any] = {
    "poke_interval": 60,
    "timeout": timedelta(days=7),
    "soft_fail": False,
    "mode": "poke",
    "exponential_backoff": False,
    "max_wait": None,
    "silent_fail": False,
    "never_fail": False,
}
"""Further ones of every sensor (airflow/sensors/base.py of 2.10.5)."""

OF_EXTERNAL_TASK_SENSORS: dict[str, Any] = {
    "external_dag_id": None,
    "external_task_ids": None,
    "external_task_group_id": None,
    "execution_delta": None,
    "execution_date_fn": None,
    "check_existence": False,
    "allowed_states": ["success"],
    "skipped_states": None,
    "failed_states": None,
    "deferrable": False,
}
OF_EXTERNAL_TASK_MARKERS: dict[str, Any] = {
    "external_dag_id": None,
    "external_task_id": None,
    "logical_date": "{{ logical_date.isoformat() }}",
    "recursion_depth": 10,
}

OF_DAGS: dict[str, Any] = {
    "description": None,
    "catchup": False,
    "max_active_runs": 16,
    "max_active_tasks": 16,
    "max_consecutive_failed_dag_runs": 0,
    "dagrun_timeout": None,
    "doc_md": None,
    "tags": None,
    "params": None,
    "access_control": None,
    "is_paused_upon_creation": None,
    "render_template_as_native_obj": False,
    "fail_fast": False,
    "template_searchpath": None,
    "user_defined_macros": None,
    "user_defined_filters": None,
    "on_success_callback": None,
    "on_failure_callback": None,
    "owner_links": None,
}
"""Attributes of a DAG under Airflow 3's names and Airflow 2.10's defaults (airflow/models/dag.py of 2.10.5). One is a setting
that production has off: ``[scheduler] catchup_by_default``.
"""

NEW_IN_3: dict[str, Any] = {"render_template_as_native_obj": None}
"""Attributes that Airflow 2 has not, and the value with which a task is as it was there."""

_MACHINERY = {
    # The platform's own: the cluster policy gives it to every task.
    "retry_policy",
    *("task_id", "task_group", "upstream_task_ids", "downstream_task_ids", "external_dates_filter", "fits_interval"),
    *("pod", "pod_request_obj", "remote_pod", "trigger_kwargs", "operator_extra_links"),
}


class ShapeError(Exception):
    """A value that can't be told as data."""


def shape(dag: DAG) -> dict[str, Any]:
    """The shape of a DAG of Airflow 3."""
    tasks = list(dag.tasks)
    groups = dag.task_group.get_task_group_dict()
    return {
        "dag_id": dag.dag_id,
        "dag": {
            **{name: attribute(name, getattr(dag, name, None)) for name in OF_DAGS},
            "schedule": schedule(dag.timetable),
            **effective_dates(dag.start_date, dag.end_date, tasks),
        },
        "groups": {key: {"parent": group.parent_group.group_id} for key, group in groups.items() if group.parent_group},
        "edges": sorted([task.task_id, below] for task in tasks for below in task.downstream_task_ids),
        "tasks": {task.task_id: _task(task) for task in tasks},
    }


def effective_dates(start: datetime | None, end: datetime | None, tasks: Iterable[Any]) -> dict[str, Any]:
    """The first and the last date of which a DAG has runs: the DAG's own and its tasks' together, as the scheduler takes them."""
    starts = [each for each in (start, *(task.start_date for task in tasks)) if each is not None]
    ends = [end, *(task.end_date for task in tasks)]
    last = max(each for each in ends if each is not None) if any(ends) and all(ends[1:]) else None
    return {"start_date": canonical(min(starts, default=None)), "end_date": canonical(last)}


def schedule(timetable: Any) -> dict[str, Any]:
    """A timetable: its class's name and what it was made of."""
    own = {
        name.lstrip("_"): getattr(timetable, name)
        for name in ("expression", "_expression", "delta", "_delta")
        if hasattr(timetable, name)
    }
    zone = getattr(timetable, "timezone", None)
    return {
        "kind": type(timetable).__name__,
        **{name: attribute(name, value) for name, value in own.items()},
        "timezone": None if zone is None else str(getattr(zone, "name", zone)),
    }


def _task(task: BaseOperator | MappedOperator) -> dict[str, Any]:
    kind = next((base.__name__ for base in type(task).__mro__ if base.__name__ in KINDS), type(task).__name__)
    return {"kind": kind, "group": group_of(task), "attributes": attributes(task)}


def group_of(task: Any) -> str | None:
    """The id of the group that a task is in."""
    return task.task_group.group_id if task.task_group is not None else None


def attributes(task: BaseOperator | MappedOperator) -> dict[str, Any]:
    """What a task was given and what it has by default, without what machinery keeps on it."""
    found = given(task)
    same = {name for name, neutral in NEW_IN_3.items() if found.get(name) == neutral}
    if "external_task_ids" in found:
        same.add("external_task_id")  # the list of one says it
    return without_idle({name: attribute(name, value) for name, value in sorted(found.items()) if name not in same})


def given(task: BaseOperator | MappedOperator) -> dict[str, Any]:
    """The same as objects. Of a task that is expanded at run time, what all its instances share."""
    held = getattr(task, "partial_kwargs", None) or vars(task)
    own = {name: value for name, value in held.items() if not name.startswith("_") and name not in _MACHINERY}
    common = {name: getattr(task, name, None) for name in OF_OPERATORS}
    return {name: addresses(value) if name == "email" else value for name, value in (own | common).items()}


def without_idle(found: dict[str, Any]) -> dict[str, Any]:
    """Attributes without the one that says nothing where a task does not depend on its past."""
    idle = set() if found["depends_on_past"] else {"ignore_first_depends_on_past"}
    return {name: value for name, value in found.items() if name not in idle}


def addresses(email: Any) -> Any:
    """Addresses as a list, however they are written."""
    return [part.strip() for part in re.split(r"[,;]", email)] if isinstance(email, str) else email


def attribute(name: str, value: Any) -> Any:
    """The value of an attribute as JSON. What people read is no template, whatever its braces say."""
    return value if name in TEXT_KEYWORDS and isinstance(value, str) else canonical(value)


def canonical(value: Any) -> Any:
    """A value as JSON.

    :raises ShapeError: there is no way to tell it.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return template(value) if "{{" in value or "{%" in value else value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): canonical(inner) for key, inner in value.items()} or None
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value] or None
    if isinstance(value, set | frozenset):
        return sorted(canonical(inner) for inner in value) or None
    if isinstance(value, Secret):
        return {"secret": canonical(vars(value))}
    if hasattr(value, "openapi_types"):  # a model of the Kubernetes client
        return {
            type(value).__name__: {
                name: canonical(getattr(value, name))
                for name in value.openapi_types
                if getattr(value, name) is not None
            }
        }
    if hasattr(value, "dump") and hasattr(value, "items"):  # ParamsDict
        return canonical(dict(value.dump()))
    raise ShapeError(f"a value of type {type(value).__name__} can't be told as data")


# --- templates


@dataclass(frozen=True)
class _Run:
    """A run as both versions see it.

    :param started: by a person, not by the schedule.
    """

    logical: pendulum.DateTime
    start: pendulum.DateTime
    end: pendulum.DateTime
    started: bool


_DAY = pendulum.datetime(2026, 2, 27, 3, 30, tz="UTC")
RUNS = (
    _Run(_DAY, _DAY, _DAY.add(days=2), started=False),
    _Run(_DAY.add(hours=9, seconds=17), _DAY.subtract(days=3), _DAY.subtract(days=1), started=True),
)
"""Runs in which no two dates of the context are the same day where they can differ."""


class _Named:
    """Stands for what only a real run has: renders to the path that led to it."""

    def __init__(self, path: str, **known: Any) -> None:
        self.__dict__.update(known)
        self._path = path

    def __getattr__(self, name: str) -> _Named:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Named(f"{self._path}.{name}")

    def __getitem__(self, key: object) -> _Named:
        return _Named(f"{self._path}[{key!r}]")

    def __call__(self, *arguments: Any, **keywords: Any) -> _Named:
        return _Named(f"{self._path}({arguments!r}, {keywords!r})")

    def __str__(self) -> str:
        return f"<{self._path}>"

    __repr__ = __str__


_version_2 = False


def templates_of_airflow_2() -> None:
    """From now on templates render in the context of Airflow 2.10."""
    global _version_2
    _version_2 = True
    template.cache_clear()


def context(run: _Run, *, version_2: bool) -> dict[str, Any]:
    """The context of a run: that of Airflow 3.3, or of 2.10 (airflow/models/taskinstance.py of 2.10.5)."""
    both = {
        "logical_date": run.logical,
        "data_interval_start": run.start,
        "data_interval_end": run.end,
        "ds": run.logical.format("YYYY-MM-DD"),
        "ds_nodash": run.logical.format("YYYYMMDD"),
        "ts": run.logical.isoformat(),
        "ts_nodash": run.logical.format("YYYYMMDDTHHmmss"),
        "ts_nodash_with_tz": run.logical.isoformat().replace("-", "").replace(":", ""),
        "macros": macros,
        "test_mode": False,
        "try_number": 1,
        **{name: _Named(name) for name in ("var", "conn", "dag", "task", "params", "run_id", "inlets", "outlets")},
        **{name: _Named(name) for name in ("prev_data_interval_start_success", "prev_data_interval_end_success")},
        **{name: _Named(name) for name in ("prev_start_date_success", "prev_end_date_success")},
        **{name: _Named(name) for name in ("task_instance_key_str", "map_index_template", "expanded_ti_count")},
    }
    kind = "manual" if run.started else "scheduled"
    of_run = {
        "run_type": kind,
        "logical_date": run.logical,
        "data_interval_start": run.start,
        "data_interval_end": run.end,
    }
    if not version_2:
        task = _Named("ti")
        return both | {"dag_run": _Named("dag_run", **of_run), "ti": task, "task_instance": task}
    task = _Named("ti", execution_date=run.logical)
    # In a run that somebody started, the dates before and after it were its own.
    after = run.logical if run.started else run.end
    yesterday, tomorrow = run.logical.subtract(days=1), run.logical.add(days=1)
    return both | {
        "dag_run": _Named("dag_run", **of_run, execution_date=run.logical, external_trigger=run.started),
        "ti": task,
        "task_instance": task,
        "execution_date": run.logical,
        "next_execution_date": after,
        "next_ds": after.format("YYYY-MM-DD"),
        "next_ds_nodash": after.format("YYYYMMDD"),
        "yesterday_ds": yesterday.format("YYYY-MM-DD"),
        "yesterday_ds_nodash": yesterday.format("YYYYMMDD"),
        "tomorrow_ds": tomorrow.format("YYYY-MM-DD"),
        "tomorrow_ds_nodash": tomorrow.format("YYYYMMDD"),
    }


@cache
def template(text: str) -> dict[str, Any]:
    """What a template renders to, in each of :data:`RUNS`."""
    # In this process is the file's own code already: a template could do no more.
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    renders = []
    for run in RUNS:
        try:
            renders.append(environment.from_string(text).render(context(run, version_2=_version_2)))
        except Exception as error:
            renders.append(f"{type(error).__name__}: {error}")
    return {"template": text, "renders": renders}
