"""What templates can name in a run, with stand-ins for what only a real run has. Runs in the sandbox only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pendulum
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.execution_time import macros
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from wtmo.graph.describe.params import sample_params
from wtmo.graph.describe.values import Unknown
from wtmo.imports.templates import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from airflow.sdk import DAG


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
    dates = dates_of(run)
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


def dates_of(run: tuple[datetime, ...]) -> dict[str, Any]:
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


def with_task(context: Mapping[str, Any], task: Any) -> dict[str, Any]:
    """The context of a DAG's run, with what is the task's own."""
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
        xcom_pull=xcom_pull,
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


def xcom_pull(task_ids: Any = None, key: str = BaseXCom.XCOM_RETURN_KEY, **_: Any) -> Unknown:
    """What stands for what another task has left behind."""
    told = "" if key == BaseXCom.XCOM_RETURN_KEY else f", {key!r}"
    return Unknown.of(f"ti.xcom_pull({task_ids!r}{told})")


def _params(given: Any) -> dict[str, Any]:
    return dict(given.items()) if given else {}
