"""Run a query, its parts or its data checks, from bigquery-etl's files, as BigQuery jobs: without a pod.

:class:`BigQueryRunBqetlOperator` takes the command line that a pod of the bigquery-etl image would get, reads and renders the
same files (:mod:`utils.bqetl`) and submits the same jobs.

It uses the Google provider's hooks and job link, and neither ``BigQueryInsertJobOperator`` nor its trigger
(apache-airflow-providers-google 22.8.0), which

- take the SQL when the DAG is parsed, know one job a task, and leave labels out where an id exceeds 63 characters;
- fail the task, and leave its job running, on the first error of a poll (``BigQueryInsertJobTrigger.run``) and on a
  timeout while deferred;
- poll through a thread pool of one thread for the whole triggerer (``sync_to_async``).

Where Airflow calls neither ``on_kill`` nor a next try, :mod:`wtmo.orphans` cancels the jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import re
import textwrap
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict, cast

from aiohttp import ClientResponseError, ClientSession, ClientTimeout
from airflow.providers.google.cloud.hooks.bigquery import BigQueryAsyncHook, BigQueryHook
from airflow.providers.google.cloud.links.bigquery import BigQueryJobDetailLink
from airflow.providers.google.cloud.operators.cloud_base import GoogleCloudBaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
)
from airflow.triggers.base import BaseTrigger, TriggerEvent
from gcloud.aio.bigquery import Job, Table
from google.api_core.exceptions import ClientError, Conflict, GoogleAPICallError, GoogleAPIError, NotFound
from google.cloud import bigquery

from utils.bqetl import flags, plans
from utils.bqetl import jobs as bqetl_jobs
from utils.bqetl.source import opened
from utils.config import CONNECTIONS, QueryTasks
from utils.constants import BIGQUERY_JOBS_KEY
from utils.deadlines import time_left
from utils.errors import WtmoError
from utils.retries import passes, times_put_off, waiting_out
from utils.tags import impact_tier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Sequence

    from airflow.sdk import Context

REQUEST_TIMEOUT = 60.0
"""Seconds that one request to BigQuery may take."""
RETRY = bigquery.DEFAULT_RETRY.with_timeout(300)
"""Google's own choice of errors that pass, tried again for five minutes."""
CANCEL_RETRY = bigquery.DEFAULT_RETRY.with_timeout(20)
POLLS_UNANSWERED = 30
"""Polls in a row that may fail before the triggerer hands the task back to a worker, which asks once more."""
LONGEST_POLL = 60.0
FOUND_BY_ID = {"US", "EU"}
"""Where BigQuery finds a job by its id alone. Elsewhere it wants the location too."""
CANCELLED = "stopped"
"""BigQuery's reason for the end of a job that somebody cancelled. Until that end a job does not show it."""
CANCEL_PATIENCE = 2.0
"""Seconds that a killed worker waits for a cancelled job to end, before it deletes the tables that the job writes."""


class JobRef(TypedDict):
    """Where a job is, and what it runs, for messages. ``location`` is None before it has begun."""

    project: str
    location: str | None
    job_id: str
    title: str


class Failure(TypedDict):
    """A job that BigQuery refused or that failed: what to tell, and BigQuery's reason, such as ``invalidQuery``."""

    text: str
    reason: str


class BigQueryJobError(AirflowException):
    """Jobs of a task failed. The message says which file, line and why.

    :param errors: ``{"reason": ..}`` of each, as Google's exceptions have it; :mod:`utils.retries` goes by them.
    """

    def __init__(self, message: str, failures: Sequence[Failure] = ()) -> None:
        super().__init__(message)
        self.errors = [{"reason": failure["reason"]} for failure in failures]


class BigQueryUsageError(BigQueryJobError, AirflowFailException):
    """A file is missing or doesn't render, or an option makes no sense: no retry puts it right."""


class BigQueryJobsTrigger(BaseTrigger):
    """Waits in the triggerer until jobs are done, however they end.

    A poll that fails is repeated. Where BigQuery doesn't answer for long, the event has ``unanswered``, the error, and the
    jobs may still run.

    :param jobs: the jobs; see :class:`JobRef`.
    :param temporary: tables to delete when the task is killed.
    :param gcp_conn_id: Airflow connection to Google Cloud.
    :param impersonation_chain: service accounts to impersonate.
    :param poll_interval: seconds between two polls of a job.
    """

    def __init__(
        self,
        *,
        jobs: list[JobRef],
        temporary: list[str],
        gcp_conn_id: str,
        impersonation_chain: str | Sequence[str] | None,
        poll_interval: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.jobs = jobs
        self.temporary = temporary
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and every argument."""
        return f"{__name__}.BigQueryJobsTrigger", {
            "jobs": self.jobs,
            "temporary": self.temporary,
            "gcp_conn_id": self.gcp_conn_id,
            "impersonation_chain": self.impersonation_chain,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until all are done, then give one event."""
        hook, waiting, unanswered = self._hook(), list(self.jobs), 0
        async with ClientSession(timeout=ClientTimeout(total=REQUEST_TIMEOUT)) as session:
            token = None
            while waiting:
                try:
                    token = token or await hook.get_token(session=session)
                    waiting = [job for job in waiting if not await _is_done(job, session, token)]
                    unanswered = 0
                except Exception as error:  # of the network, the login or the answer: all of them may pass
                    unanswered, token = unanswered + 1, None
                    self.log.warning("BigQuery did not answer (%d in a row): %r", unanswered, error)
                    if unanswered >= POLLS_UNANSWERED:
                        yield TriggerEvent({"unanswered": repr(error)})
                        return
                if waiting:
                    await asyncio.sleep(min(self.poll_interval * 2 ** min(unanswered, 10), LONGEST_POLL))
        yield TriggerEvent({})

    async def on_kill(self) -> None:
        """Cancel the jobs when a person ends the waiting task, and delete the temporary tables."""
        hook = self._hook()
        cancelled = [hook.cancel_job(job["job_id"], job["project"], job["location"]) for job in self.jobs]
        # The hook logs what it could not cancel. That one of them can't be is no reason to leave the others.
        await asyncio.gather(*cancelled, return_exceptions=True)
        if not self.temporary:
            return
        async with ClientSession(timeout=ClientTimeout(total=REQUEST_TIMEOUT)) as session:
            token = await hook.get_token(session=session)
            # A job that ends while it is cancelled writes its table. Airflow gives all of this 30 s.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while not all([await _is_done(job, session, token) for job in self.jobs]):
                        await asyncio.sleep(0.5)
            for table in self.temporary:
                await self._drop(table, session, token)

    async def _drop(self, table: str, session: ClientSession, token: Any) -> None:
        project, dataset, name = table.split(".")
        try:
            await Table(dataset, name, project=project, session=cast("Any", session), token=token).delete()
            self.log.info("Deleted the temporary table %s", table)
        except ClientResponseError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                self.log.error("The temporary table %s could not be deleted: %s", table, error)

    def _hook(self) -> BigQueryAsyncHook:
        return BigQueryAsyncHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain, use_legacy_sql=False
        )


async def _is_done(job: JobRef, session: ClientSession, token: Any) -> bool:
    # gcloud-aio's own type of a session is that of requests or of aiohttp, by how it was built.
    client = Job(job["job_id"], job["project"], session=cast("Any", session), token=token, location=job["location"])
    try:
        answer = await client.get_job()
    except ClientResponseError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return True  # the worker says so
        raise
    return bool(answer["status"]["state"] == "DONE")


class BigQueryRunBqetlOperator(GoogleCloudBaseOperator):
    """Run a command of bigquery-etl, ``query run``, ``query run-multipart`` or ``check run``, as BigQuery jobs.

    The files are read from a checkout of bigquery-etl when the task runs. Flags that no job can be made of are refused
    when the DAG is parsed: those tasks need the pod. A Python query is refused likewise.

    Each job's id is fixed for the try (dag, task, run, try), so that a request sent twice makes one job. While a job runs
    a further try of the same task, after the loss of a worker or a triggerer, goes on with it; it starts a new one when
    the job failed or is being cancelled, or the SQL or its parameters are others now. The job of a lost try that has succeeded is taken as it
    is where running it again would do something else than running it once (``--append_table``, ``--noreplace``, a script).
    A task that is killed or times out cancels its jobs and deletes its temporary tables. One that fails by what passes, such as a rate limit
    or a quota, is put off up to five times and starts new jobs in the same try (:func:`utils.retries.waiting_out`); not so a script that has
    failed where the task has no retries, as it may have done a part of its work.

    Jobs have the labels ``airflow-dag``, ``airflow-task``, ``airflow-run``, ``airflow-try``, ``airflow-owner`` and
    ``airflow-tier``, as a pod has them (:func:`utils.labels.label_value`). The return value (XCom) is ``jobs`` (``project:location.id``), ``bytes_processed``,
    ``slot_ms`` and ``rows_written`` (None where none is counted), over all jobs of the try.

    Other than the pod's program it shows no rows of a query without a destination, and starts all parts of a multipart query at once,
    whatever ``--parallelism`` says.

    :param arguments: the command line, as the image takes it: ``["query", "--destination_table=t_v1", .., <file>]``,
        ``["script/bqetl", "query", "run-multipart", ..]`` or ``["script/bqetl", "check", "run", ..]``. ``--dry_run``
        has BigQuery check the query and say how many bytes it would process. (templated)
    :param checkout: folder of the bigquery-etl checkout, which holds ``sql/``, or ``bundle:<name>`` for a DAG bundle, in the
        version that Airflow pinned for the run or else the newest (:func:`utils.bqetl.source.opened`); all steps of a try
        read one version. Default: that of :class:`utils.config.QueryTasks`.
    :param gcp_conn_id: Airflow connection to BigQuery. Default: that of the warehouse. (templated)
    :param location: location of the jobs. Default: the connection's, or else BigQuery goes by the
        tables. (templated)
    :param impersonation_chain: service account to impersonate, or the chain to it. Default: none. (templated)
    :param deferrable: wait in the triggerer, not in a worker slot. Default: True.
    :param poll_interval: seconds between two looks at a job. Default: 4.
    :param kwargs: parameters of ``BaseOperator``.
    :raises ValueError: a command or flag that this operator does not know; the message says what to do.
    """

    template_fields: Sequence[str] = ("arguments", "gcp_conn_id", "impersonation_chain", "location")
    operator_extra_links = (BigQueryJobDetailLink(),)
    ui_color = "#A1BBFF"

    def __init__(
        self,
        *,
        arguments: Sequence[str],
        checkout: str | None = None,
        gcp_conn_id: str = CONNECTIONS.shared_prod,
        location: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = True,
        poll_interval: float = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = list(arguments)
        self.checkout = checkout
        self.gcp_conn_id = gcp_conn_id
        self.location = location
        self.impersonation_chain = impersonation_chain
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self._clients: dict[str, bigquery.Client] = {}
        self._started: list[JobRef] = []
        self._temporary: Sequence[str] = ()
        self._killed = False
        self._is_partly_done = False
        self._refuse_unknown()

    def _refuse_unknown(self) -> None:
        use_pod = 'use engine="pod"'
        try:
            command = flags.parsed(self.arguments)
        except WtmoError as error:
            raise ValueError(f"Task {self.task_id}: {error.what}. As a BigQuery job, {use_pod}. {error.fix}") from error
        if command is None:
            raise ValueError(
                f"Task {self.task_id}: `{' '.join(self.arguments[:3])}` is no query and no check, {use_pod}."
            )
        if getattr(command[1], "name", "").endswith(".py"):
            raise ValueError(f"Task {self.task_id}: {command[1].name} is a Python query, {use_pod}.")

    # The life of a try

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the jobs, or find those of a try that was lost, and wait."""
        with self._leaving_nothing_running(context):
            # Nothing can be left of a try before the first. Every task would ask for it before it starts its job.
            is_first = context["ti"].try_number == 1 and not times_put_off(context)
            note = None if is_first else _Note(context).read()
            progress = self._of_lost_try(context, note)
            return self._run_stage(context, progress or _Progress(key=_key(context)))

    def execute_complete(self, context: Context, event: dict[str, Any], progress: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer has seen the jobs done."""
        if problem := event.get("unanswered"):
            self.log.warning("The triggerer got no answer of BigQuery, so this worker asks: %s", problem)
        now = _Progress(**progress)
        self._started, self._temporary = list(now.started), now.temporary
        with self._leaving_nothing_running(context):
            return self._wait(context, now, [self._get(job) for job in now.started])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the deferral. A timeout or a failure of the deferral itself cancels the jobs, and ends the task."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            if note := _Note(context).read():
                self._end(note["jobs"], note["temporary"])
            if isinstance(error, TaskDeferralTimeout):
                raise AirflowTaskTimeout("execution_timeout passed. The jobs were cancelled.") from error
            raise

    def on_kill(self) -> None:
        """Cancel the jobs of this try, and delete its temporary tables."""
        self._killed = True
        # This comes as a signal, perhaps in the midst of a request, whose connections may be locked.
        self._clients = {}
        self._end(self._started, self._temporary)

    def _run_stage(self, context: Context, progress: _Progress) -> dict[str, Any]:
        """Submit all queries of a stage, then wait for them."""
        plan = self._plan(context, progress)
        progress.temporary = self._temporary = list(plan.temporary)
        queries = plan.stages[progress.stage]
        if progress.stage == 0:
            _Note(context).write(progress.key, plan, self._location)
        labels = self._labels(context["ti"])
        started: list[bigquery.QueryJob] = []
        for query in queries:
            self._stop_if_killed()
            try:
                job = self._submit(query, progress.key, labels)
            except ClientError as error:
                progress.failures.append(_refusal(query, error, is_check=bool(plan.checks)))
                continue
            if query.config.dry_run:
                progress.count(job)
                self.log.info("%s: %s", query.title, bqetl_jobs.describe(job))
                continue
            started.append(job)
            progress.started.append(_ref(query, job))
            self._show_link(context, job)
        if elsewhere := {job.location for job in started} - {self._location} - FOUND_BY_ID:
            _Note(context).write(progress.key, plan, elsewhere.pop())
        return self._wait(context, progress, started)

    def _wait(self, context: Context, progress: _Progress, jobs: list[bigquery.QueryJob]) -> dict[str, Any]:
        """Wait for the jobs of a stage, then go on with the next one."""
        while any(job.state != "DONE" for job in jobs):
            self._stop_if_killed()
            if self.deferrable:
                self.defer(
                    trigger=BigQueryJobsTrigger(
                        jobs=progress.started,
                        temporary=progress.temporary,
                        gcp_conn_id=self.gcp_conn_id,
                        impersonation_chain=self.impersonation_chain,
                        poll_interval=self.poll_interval,
                    ),
                    method_name="execute_complete",
                    kwargs={"progress": vars(progress)},
                    timeout=time_left(self.execution_timeout, context["ti"]) if self.execution_timeout else None,
                )
            time.sleep(self.poll_interval)
            jobs = [self._get(job) for job in progress.started]
        self._stop_if_killed()
        key = _key(context)
        if progress.key != key and any((job.error_result or {}).get("reason") == CANCELLED for job in jobs):
            self.log.warning("The jobs of the lost try were being cancelled: this try starts its own")
            self._end(progress.started, progress.temporary)
            self._started, self._temporary = [], ()
            return self._run_stage(context, _Progress(key=key))
        plan = self._plan(context, progress)
        for ref, job in zip(progress.started, jobs, strict=True):
            if job.error_result:
                progress.failures.append(_failure(ref, job, is_check=bool(plan.checks)))
                self._is_partly_done |= job.statement_type == "SCRIPT"
                self._show_link(context, job)
            else:
                self.log.info("%s: %s", ref["title"], bqetl_jobs.describe(job))
                progress.count(job)
        progress.started, self._started = [], []
        if progress.failures or progress.stage + 1 == len(plan.stages):
            return self._finish(context, plan, progress)
        progress.stage += 1
        return self._run_stage(context, progress)

    def _finish(self, context: Context, plan: plans.Plan, progress: _Progress) -> dict[str, Any]:
        client = self._client(plan.stages[0][0].project)
        self._drop(plan.temporary)
        self._temporary = ()
        _Note(context).remove()
        if progress.failures:
            heading = f"{len(progress.failures)} of {plan.checks} failed:\n" if plan.checks else ""
            text = "\n".join(failure["text"] for failure in progress.failures)
            # What passes is not waited for where something else has failed for good.
            for_good = [failure for failure in progress.failures if not passes(failure["reason"])]
            raise BigQueryJobError(heading + text, for_good or progress.failures)
        if plan.checks:
            is_dry = plan.stages[0][0].config.dry_run
            self.log.info("The SQL of all %s is valid (dry run)" if is_dry else "All of %s passed", plan.checks)
        if plan.destination and plan.describes:
            self.log.info(bqetl_jobs.put_descriptions_back(client, plan.destination, plan.folder, retry=RETRY))
        return progress.total

    def _stop_if_killed(self) -> None:
        # Airflow goes on with the task after on_kill.
        if self._killed:
            raise BigQueryJobError("The task was killed. Its jobs were cancelled.")

    # Plan and jobs

    def _plan(self, context: Context, progress: _Progress) -> plans.Plan:
        own = getattr(context["ti"], "bundle_instance", None)
        try:
            with opened(self.checkout or QueryTasks().checkout, own=own, version=progress.version) as (
                checkout,
                version,
            ):
                if version != progress.version:
                    self.log.info("The files of bigquery-etl are those of version %s", version)
                progress.version = version
                return plans.plan(self.arguments, checkout, key=progress.key.rpartition("_")[2])
        except WtmoError as error:
            raise BigQueryUsageError(str(error)) from error

    def _labels(self, ti: Any) -> dict[str, str]:
        dag = self.get_dag()
        tier = impact_tier(dag.tags) if dag else None
        ids = (ti.dag_id, ti.task_id, ti.run_id, str(ti.try_number), self.owner, tier or "")
        return bqetl_jobs.airflow_labels(dict(zip(bqetl_jobs.AIRFLOW_LABELS.values(), ids, strict=True)))

    def _submit(self, query: plans.Query, key: str, labels: dict[str, str]) -> bigquery.QueryJob:
        """Start the job, or find the one that has its id."""
        config, job_id = query.config, _job_id(key, query)
        config.labels = {**config.labels, **labels}
        into = ""
        if config.destination:
            into = f" into {config.destination} ({config.write_disposition or 'temporary'})"
        self.log.info("Running %s in %s%s\n%s", query.title, query.project, into, query.sql)
        for parameter in config.query_parameters:
            self.log.info("  parameter %s", parameter.to_api_repr())
        ref = JobRef(project=query.project, location=self._location, job_id=job_id, title=query.title)
        self._started.append(ref)  # before it is sent, so that it can be cancelled at any moment
        client = self._client(query.project)
        try:
            job = client.query(query.sql, config, job_id=job_id, retry=RETRY, timeout=REQUEST_TIMEOUT, job_retry=None)
        except Conflict as error:
            if found := re.search(rf":([\w-]+)\.{re.escape(job_id)}", error.message):
                ref["location"] = found[1]
            try:
                job = self._get(ref)
            except NotFound:
                raise error from None
            self.log.info("The job is there already, %s: going on with it", job.state)
        return job

    def _of_lost_try(self, context: Context, note: Any) -> _Progress | None:
        """An earlier try whose jobs this one goes on with. Of one that is of no use nothing is left."""
        if not note:
            return None
        found = {ref["job_id"]: job for ref in note["jobs"] if (job := self._find(ref))}
        running = [ref for ref in note["jobs"] if ref["job_id"] in found and found[ref["job_id"]].state != "DONE"]
        self._started, self._temporary = running, note["temporary"]  # a plan that fails leaves none of them
        progress = _Progress(key=note["key"])
        plan = self._plan(context, progress)
        of_use = running or not plan.repeatable
        failed = any(job.error_result for job in found.values())
        if found and of_use and not failed and note["digest"] == _digest(plan):
            self.log.info("Going on with the jobs of a try that was lost: %s", ", ".join(found))
            self._started = []
            return progress
        self._end(running, note["temporary"])
        self._started, self._temporary = [], ()
        return None

    def _find(self, ref: JobRef) -> bigquery.QueryJob | None:
        try:
            return self._get(ref)
        except NotFound:
            return None

    def _get(self, ref: JobRef) -> bigquery.QueryJob:
        client = self._client(ref["project"])
        job = client.get_job(ref["job_id"], location=ref["location"], retry=RETRY, timeout=REQUEST_TIMEOUT)
        if not isinstance(job, bigquery.QueryJob):
            raise BigQueryJobError(f"{ref['title']}: the job {ref['job_id']} is no query")
        return job

    def _cancel(self, jobs: Sequence[JobRef]) -> None:
        for job in jobs:
            try:
                self._client(job["project"]).cancel_job(
                    job["job_id"], location=job["location"], retry=CANCEL_RETRY, timeout=10
                )
                self.log.info("Cancelled the job %s of %s", job["job_id"], job["title"])
            except NotFound:
                self.log.info("The job %s of %s was never made", job["job_id"], job["title"])
            except (GoogleAPIError, OSError) as error:
                self.log.error("The job %s of %s could not be cancelled: %s", job["job_id"], job["title"], error)

    def _end(self, jobs: Sequence[JobRef], temporary: Sequence[str]) -> None:
        """Cancel jobs, and delete temporary tables once the jobs that write them have ended, or after a moment."""
        self._cancel(jobs)
        if not temporary:
            return
        end = time.monotonic() + CANCEL_PATIENCE
        while time.monotonic() < end and not self._have_ended(jobs):
            time.sleep(0.2)
        self._drop(temporary)

    def _have_ended(self, jobs: Sequence[JobRef]) -> bool:
        try:
            return all(job is None or job.state == "DONE" for job in map(self._find, jobs))
        except (GoogleAPIError, OSError):
            return False

    def _drop(self, tables: Sequence[str]) -> None:
        for table in tables:
            client = self._client(table.split(".")[0])
            try:
                client.delete_table(table, not_found_ok=True, retry=CANCEL_RETRY, timeout=REQUEST_TIMEOUT)
            except (GoogleAPIError, OSError) as error:
                self.log.error("The temporary table %s could not be deleted: %s", table, error)

    @contextlib.contextmanager
    def _leaving_nothing_running(self, context: Context) -> Generator[None]:
        # Being deferred or killed is no Exception: the jobs go on, or on_kill has cancelled them.
        with waiting_out(self, context, unless=lambda: self._killed or (self._is_partly_done and not self.retries)):
            try:
                yield
            except Exception:
                self._end(self._started, self._temporary)
                raise

    @functools.cached_property
    def _hook(self) -> BigQueryHook:
        return BigQueryHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain, use_legacy_sql=False
        )

    @property
    def _location(self) -> str | None:
        """Where jobs are to run; None: BigQuery goes by the tables."""
        return self.location or self._hook.location

    def _client(self, project: str) -> bigquery.Client:
        """One a project: each has connections of its own, and the first request of each sets one up."""
        if project not in self._clients:
            self._clients[project] = self._hook.get_client(project_id=project, location=self._location)
        return self._clients[project]

    @staticmethod
    def _show_link(context: Context, job: bigquery.QueryJob) -> None:
        BigQueryJobDetailLink.persist(context=context, project_id=job.project, location=job.location, job_id=job.job_id)


@dataclass
class _Progress:
    """How far a try is; travels through the triggerer as JSON.

    :param key: begins the ids of the try's jobs.
    :param stage: the stage of the plan that runs.
    :param started: its jobs.
    :param failures: of jobs that failed.
    :param total: over the jobs that succeeded: what the task returns.
    :param version: of the checkout that the try reads, where that is a DAG bundle.
    :param temporary: tables to delete at the end, however it ends.
    """

    key: str
    stage: int = 0
    started: list[JobRef] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    total: dict[str, Any] = field(
        default_factory=lambda: {"jobs": [], "bytes_processed": 0, "slot_ms": 0, "rows_written": None}
    )
    version: str | None = None
    temporary: list[str] = field(default_factory=list)

    def count(self, job: bigquery.QueryJob) -> None:
        """Add a job that succeeded."""
        total = self.total
        if not job.dry_run:
            total["jobs"].append(bqetl_jobs.job_name(job))
        total["bytes_processed"] += job.total_bytes_processed or 0
        total["slot_ms"] += job.slot_millis or 0
        written = None if "wtmo-temporary" in job.labels else bqetl_jobs.rows_written(job)
        if written is not None:
            total["rows_written"] = (total["rows_written"] or 0) + written


class _Note:
    """What a try leaves for the next one, in case it is lost: its jobs and temporary tables. Kept in Airflow's task state store."""

    def __init__(self, context: Context) -> None:
        self._store = context.get("task_state_store")

    def read(self) -> Any:
        """The note of this or an earlier try; None: there is none."""
        return None if self._store is None else self._store.get(BIGQUERY_JOBS_KEY)

    def write(self, key: str, plan: plans.Plan, location: str | None) -> None:
        """Before anything is sent to BigQuery; once more where it is known only then where the jobs are."""
        if self._store is not None:
            jobs = [
                JobRef(project=query.project, location=location, job_id=_job_id(key, query), title=query.title)
                for stage in plan.stages
                for query in stage
            ]
            note: dict[str, Any] = {
                "key": key,
                "digest": _digest(plan),
                "jobs": jobs,
                "temporary": list(plan.temporary),
            }
            self._store.set(BIGQUERY_JOBS_KEY, note)

    def remove(self) -> None:
        """When the try has seen its end."""
        if self._store is not None:
            self._store.delete(BIGQUERY_JOBS_KEY)


def _key(context: Context) -> str:
    """The same for all jobs and all workers of a try, and for no other. Ends in ``_`` and 16 hexadecimal digits.

    Airflow gives each try an id of its own (``ti.id``): a run that was deleted and made again does not find old jobs. A try that
    was put off makes new ones.
    """
    ti: Any = context["ti"]
    names = [str(part) for part in (ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number)]
    digest = hashlib.sha256(json.dumps([*names, str(ti.id), times_put_off(context)]).encode()).hexdigest()[:16]
    # A job id has at most 1024 of these characters.
    dag, task, run = (re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:250] for name in names[:3])
    return f"airflow_{dag}_{task}_{run}_{ti.try_number}_{digest}"


def _job_id(key: str, query: plans.Query) -> str:
    return f"{key}_{query.name}"


def _digest(plan: plans.Plan) -> str:
    """The same for the same SQL, parameters and destinations."""
    queries = [
        [query.name, query.sql, query.project, query.config.to_api_repr()] for stage in plan.stages for query in stage
    ]
    return hashlib.sha256(json.dumps(queries, sort_keys=True, default=str).encode()).hexdigest()


def _ref(query: plans.Query, job: bigquery.QueryJob) -> JobRef:
    return JobRef(project=job.project, location=job.location, job_id=job.job_id, title=query.title)


def _failure(ref: JobRef, job: bigquery.QueryJob, *, is_check: bool) -> Failure:
    found = job.error_result or {}
    text = _told(ref["title"], str(found.get("message")), job.query, is_check=is_check)
    return Failure(text=f"{text}\n  job {bqetl_jobs.job_name(job)}", reason=str(found.get("reason", "")))


def _refusal(query: plans.Query, error: GoogleAPICallError, *, is_check: bool) -> Failure:
    detail = next((item for item in error.errors or [] if isinstance(item, dict)), {})
    message = str(detail.get("message") or error.message)
    return Failure(text=_told(query.title, message, query.sql, is_check=is_check), reason=str(detail.get("reason", "")))


def _told(title: str, message: str, sql: str, *, is_check: bool) -> str:
    """What failed, why, and the line of the SQL or, of a check, all of its text."""
    said = bqetl_jobs.check_message(message) if is_check else message
    shown = textwrap.indent(f"\n{sql}", "    ") if is_check else bqetl_jobs.point_at(sql, message)
    return f"{title}: {said}{shown}"
