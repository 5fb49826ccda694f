"""Clear the tasks of a DAG, or make its missing runs, over some dates: by Airflow's REST API, and told before it is done."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import cached_property
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from utils.airflow_api import SECONDS_OF_ONE_REQUEST, airflow_api, reason
from utils.commands import DATE, checked
from utils.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import airflow_client.client as airflow
    from airflow.sdk import Context

DAG_ID = r"[A-Za-z0-9_.-]{1,250}"
MOMENT = rf"{DATE}(?:T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?"
"""A day, or a second; UTC where it names no other offset."""
TASK_REGEX = r"[A-Za-z0-9_.^$*+?()\[\]{}|\\,:=!-]{1,200}"
"""What a regular expression about ids of tasks needs, and nothing else."""

_PAGE = 100
_ENDED = {"success", "failed"}
_SHOWN = 5
RUNS_AT_ONCE = 10


@dataclass(frozen=True)
class BackfillRequest:
    """What somebody asked for. Made by :meth:`of`, which checks it.

    :param dag_name: the DAG.
    :param start: earliest logical date, part of it.
    :param end: latest logical date, part of it.
    :param clear: clear tasks of runs that exist; else make the runs that don't.
    :param dry_run: only tell what would be done.
    :param task_regex: which tasks to clear, found anywhere in their id. None: all.
    """

    dag_name: str
    start: datetime
    end: datetime
    clear: bool
    dry_run: bool
    task_regex: re.Pattern[str] | None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> BackfillRequest:
        """The request that a run's parameters make: ``dag_name``, ``start_date``, ``end_date``, ``clear``, ``dry_run``, ``task_regex``.

        A day as ``end_date`` is that whole day.

        :raises AirflowFailException: it is none, and why. The task is not retried.
        """
        dag_name = checked(params["dag_name"], DAG_ID, "dag_name")
        start = _moment(params["start_date"], "start_date", time.min)
        end = _moment(params["end_date"], "end_date", time.max)
        if start > end:
            raise AirflowFailException(
                f"start_date={params['start_date']} is after end_date={params['end_date']}. Swap them."
            )
        pattern = None
        if params["task_regex"] not in {None, ""}:
            text = checked(params["task_regex"], TASK_REGEX, "task_regex")
            try:
                pattern = re.compile(text)
            except re.error as error:
                raise AirflowFailException(f"task_regex={text!r} is no regular expression: {error}") from None
            if not params["clear"]:
                raise AirflowFailException(
                    f"task_regex={text!r} needs clear: Airflow makes whole runs. To run some tasks of runs that exist, switch "
                    "clear on; to make missing runs, leave task_regex empty."
                )
        return cls(dag_name, start, end, bool(params["clear"]), bool(params["dry_run"]), pattern)

    def __str__(self) -> str:
        tasks = f" whose id matches {self.task_regex.pattern}" if self.task_regex else ""
        what = f"clear the tasks{tasks} of" if self.clear else "make the missing runs of"
        return f"{what} {self.dag_name} from {self.start.isoformat()} to {self.end.isoformat()}"


@dataclass(frozen=True, order=True)
class Instance:
    """A task instance that is to be cleared, as the API gives it. Ordered by the date of its run."""

    logical_date: str
    run_id: str
    task_id: str
    map_index: int
    state: str

    @property
    def name(self) -> str:
        """``task``, or ``task[3]`` for one of a mapped task."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def key(self) -> str | list[object]:
        """As the API takes it."""
        return self.task_id if self.map_index < 0 else [self.task_id, self.map_index]


class DagBackfillOperator(BaseOperator):
    """Does what the parameters of its run ask for (:class:`BackfillRequest`), after it has listed all of it in the log.

    The list is made first and in full: a request that is wrong anywhere changes nothing. What is done is then exactly what is
    listed, run by run. What would be done at the time of the list and no longer is (a task was removed meanwhile) is told.

    The result (XCom) is a record: the request, ``planned`` and ``done`` (tasks by run, or the dates of runs), ``runs`` (ids of the
    runs that now have something to do), ``backfill_id`` and ``paused``. It is kept too when doing it fails midway, which is not
    retried: the message says how far it came.

    It refuses its own DAG: clearing itself, it would start again and again.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """List it, then do it."""
        request = BackfillRequest.of(context["params"])
        if request.dag_name == self.dag_id:
            raise AirflowFailException(f"dag_name={request.dag_name}: {self.dag_id} cannot clear or start itself.")
        with airflow_api() as client:
            api = _Api(client)
            dag = api.dag(request.dag_name)
            self.log.info("Asked to %s%s", request, ", as a dry run" if request.dry_run else "")
            record: dict[str, Any] = {
                "request": str(request),
                "dag_name": request.dag_name,
                "start": request.start.isoformat(),
                "end": request.end.isoformat(),
                "dry_run": request.dry_run,
                "paused": bool(dag.is_paused),
                "planned": {},
                "done": {},
                "runs": [],
                "backfill_id": None,
            }
            carry_out = self._clear(api, request, record) if request.clear else self._create(api, request, dag, record)
            if not record["planned"]:
                self.log.warning("There is nothing to do: no run of those dates %s.", _nothing(request))
            elif request.dry_run:
                self.log.info("Dry run: nothing was changed. Start it again with dry_run off to do what is listed.")
            else:
                if dag.is_paused:
                    self.log.warning("%s is paused: nothing runs before it is switched on.", request.dag_name)
                try:
                    carry_out()
                except Exception as error:
                    context["ti"].xcom_push("return_value", record)
                    raise AirflowFailException(
                        f"{len(record['done'])} of {len(record['planned'])} runs were done, then: {_message(error)}"
                    ) from error
            return record

    def _clear(self, api: _Api, request: BackfillRequest, record: dict[str, Any]) -> Callable[[], None]:
        instances = sorted(api.instances(request, self._tasks(api, request)))
        by_run = {run: list(group) for run, group in groupby(instances, key=lambda instance: instance.run_id)}
        record["planned"] = {run: [instance.name for instance in group] for run, group in by_run.items()}
        self._tell(
            f"{len(instances)} task instances of {len(by_run)} runs {_would(request)} be cleared",
            [("date", "run", "task", "state")],
            [(i.logical_date, i.run_id, i.name, i.state) for i in instances],
        )

        def carry_out() -> None:
            for number, (run, group) in enumerate(by_run.items(), start=1):
                cleared = api.clear(request.dag_name, run, group)
                record["done"][run] = cleared
                record["runs"].append(run)
                self.log.info("Cleared %d task instances of %s (run %d of %d)", len(cleared), run, number, len(by_run))
                if missing := sorted({instance.name for instance in group} - set(cleared)):
                    self.log.warning("Not there any more: %s", ", ".join(missing))

        return carry_out

    def _tasks(self, api: _Api, request: BackfillRequest) -> list[str] | None:
        """Ids of the tasks that are meant; None: all, those too that the DAG has no longer."""
        if request.task_regex is None:
            return None
        known = api.tasks(request.dag_name)
        if found := [task for task in known if request.task_regex.search(task)]:
            return found
        shown = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
        raise AirflowFailException(
            f"task_regex={request.task_regex.pattern!r} matches no task of {request.dag_name}, which has {shown}."
        )

    def _create(
        self, api: _Api, request: BackfillRequest, dag: airflow.DAGDetailsResponse, record: dict[str, Any]
    ) -> Callable[[], None]:
        # As many runs at once as the DAG has by its schedule: Airflow holds a backfill to its own limit alone.
        at_once = min(RUNS_AT_ONCE, dag.max_active_runs or RUNS_AT_ONCE)
        dates = api.missing(request, at_once)
        record["planned"] = {date: [] for date in dates}
        self._tell(f"{len(dates)} runs {_would(request)} be made", [("date",)], [(date,) for date in dates])

        def carry_out() -> None:
            record["backfill_id"] = api.create(request, at_once)
            found = api.runs(request.dag_name, request.start, request.end, run_type=["backfill"])
            made = {date: run.dag_run_id for run in found if (date := _iso(run.logical_date)) in record["planned"]}
            record["done"] = made
            record["runs"] = sorted(made.values())
            self.log.info("Backfill %d has %d runs, %d at once", record["backfill_id"], len(made), at_once)

        return carry_out

    def _tell(self, title: str, head: list[tuple[str, ...]], rows: list[tuple[str, ...]]) -> None:
        self.log.info("%s", "\n".join([title, *(_table([*head, *rows]) if rows else [])]))


class DagBackfillSensor(BaseSensorOperator):
    """Follows the runs of a record of :class:`DagBackfillOperator` until all have ended. It holds no worker slot meanwhile.

    :param record: the record, or the operator's output. (templated)
    :raises AirflowFailException: some of the runs have failed.
    """

    template_fields: Sequence[str] = ("record",)

    def __init__(self, *, record: Any, mode: str = "reschedule", poke_interval: float = 60, **kwargs: Any) -> None:
        super().__init__(mode=mode, poke_interval=poke_interval, **kwargs)
        self.record = record

    def poke(self, context: Context) -> bool:
        """Whether all have ended; says how many have."""
        wanted = set(self.record["runs"])
        if not wanted:
            raise AirflowSkipException("Nothing was changed, so there is nothing to follow.")
        if self.record["paused"]:
            raise AirflowSkipException(f"{self.record['dag_name']} is paused: its runs wait until it is switched on.")
        start, end = (datetime.fromisoformat(self.record[name]) for name in ("start", "end"))
        with airflow_api() as client:
            runs = [run for run in _Api(client).runs(self.record["dag_name"], start, end) if run.dag_run_id in wanted]
        ended = [run for run in runs if run.state.value in _ENDED]
        failed = sorted(run.dag_run_id for run in ended if run.state.value == "failed")
        self.log.info("%d of %d runs have ended, %d of them failed", len(ended), len(runs), len(failed))
        if len(ended) < len(runs):
            return False
        if failed:
            more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
            raise AirflowFailException(
                f"{len(failed)} of {len(wanted)} runs of {self.record['dag_name']} failed: "
                f"{', '.join(failed[:_SHOWN])}{more}. Mend and clear them there."
            )
        return True


class _Api:
    """The calls of Airflow's API that a backfill makes.

    :raises AirflowFailException: the API refuses a call; with its reason.
    """

    def __init__(self, client: airflow.ApiClient) -> None:
        self.client = client

    @cached_property
    def _api(self) -> Any:
        import airflow_client.client

        return airflow_client.client

    def _call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        from airflow_client.client.exceptions import ApiException

        try:
            return function(*arguments, _request_timeout=SECONDS_OF_ONE_REQUEST, **keywords)
        except ApiException as error:
            if (error.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise AirflowFailException(f"Airflow's API refuses it: {reason(error)}") from error

    def dag(self, dag_id: str) -> airflow.DAGDetailsResponse:
        """The DAG.

        :raises AirflowFailException: there is none of that name; with the near ones.
        """
        from airflow_client.client.exceptions import NotFoundException

        dags = self._api.DAGApi(self.client)
        try:
            found: airflow.DAGDetailsResponse = dags.get_dag_details(dag_id, _request_timeout=SECONDS_OF_ONE_REQUEST)
        except NotFoundException:
            names = [dag.dag_id for dag in self._pages(dags.get_dags, "dags")]
            raise AirflowFailException(
                f"dag_name={dag_id!r}: there is no such DAG. {did_you_mean(dag_id, names)}"
            ) from None
        return found

    def tasks(self, dag_id: str) -> list[str]:
        """The ids of a DAG's tasks."""
        found = self._call(self._api.TaskApi(self.client).get_tasks, dag_id)
        return sorted(task.task_id for task in found.tasks)

    def instances(self, request: BackfillRequest, tasks: list[str] | None) -> Iterator[Instance]:
        """What clearing these tasks would clear."""
        body = self._body(tasks, start_date=request.start, end_date=request.end, dry_run=True)
        found = self._call(self._api.TaskInstanceApi(self.client).post_clear_task_instances, request.dag_name, body)
        for instance in found.task_instances:
            yield _instance(instance)

    def clear(self, dag_id: str, run_id: str, instances: Iterable[Instance]) -> list[str]:
        """Clear task instances of one run. Returns those that were."""
        body = self._body([instance.key for instance in instances], dag_run_id=run_id, dry_run=False)
        found = self._call(self._api.TaskInstanceApi(self.client).post_clear_task_instances, dag_id, body)
        return sorted(_instance(instance).name for instance in found.task_instances)

    def _body(self, tasks: Sequence[str | list[object]] | None, **differing: Any) -> Any:
        inner = self._api.ClearTaskInstancesBodyTaskIdsInner
        ids = None if tasks is None else [inner(task) for task in tasks]
        return self._api.ClearTaskInstancesBody(task_ids=ids, only_failed=False, reset_dag_runs=True, **differing)

    def missing(self, request: BackfillRequest, at_once: int) -> list[str]:
        """The dates of the runs that would be made."""
        found = self._call(self._api.BackfillApi(self.client).create_backfill_dry_run, self._backfill(request, at_once))
        return sorted(_iso(entry.logical_date) for entry in found.backfills)

    def create(self, request: BackfillRequest, at_once: int) -> int:
        """Make the runs. Returns the number of the backfill."""
        created = self._call(self._api.BackfillApi(self.client).create_backfill, self._backfill(request, at_once))
        return int(created.id)

    def _backfill(self, request: BackfillRequest, at_once: int) -> Any:
        return self._api.BackfillPostBody(
            dag_id=request.dag_name,
            from_date=request.start,
            to_date=request.end,
            max_active_runs=at_once,
            reprocess_behavior=self._api.ReprocessBehavior.NONE,
        )

    def runs(self, dag_id: str, start: datetime, end: datetime, **filters: Any) -> list[airflow.DAGRunResponse]:
        """The runs of some dates."""
        return list(
            self._pages(
                self._api.DagRunApi(self.client).get_dag_runs,
                "dag_runs",
                dag_id,
                logical_date_gte=start,
                logical_date_lte=end,
                **filters,
            )
        )

    def _pages(self, function: Callable[..., Any], what: str, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        """Everything that a call lists, page by page."""
        offset = 0
        while entries := getattr(self._call(function, *arguments, limit=_PAGE, offset=offset, **keywords), what):
            yield from entries
            offset += len(entries)


def _moment(value: object, name: str, of_a_day: time) -> datetime:
    """A day's begin or end, or a second, in UTC."""
    text = checked(value, MOMENT, name)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise AirflowFailException(f"{name}={text!r} is no date: {error}") from None
    if "T" not in text:
        moment = datetime.combine(moment, of_a_day)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _instance(found: airflow.TaskInstanceResponse) -> Instance:
    state = "none" if found.state is None else str(found.state.value)
    return Instance(_iso(found.logical_date), found.dag_run_id, found.task_id, found.map_index, state)


def _iso(moment: datetime | None) -> str:
    """A date as text, UTC; ``-`` for a run without one."""
    return moment.astimezone(UTC).isoformat() if moment else "-"


def _would(request: BackfillRequest) -> str:
    return "would" if request.dry_run else "will"


def _nothing(request: BackfillRequest) -> str:
    return "has such a task" if request.clear else "is missing"


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines with their columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
