"""The life of a job: accepted, running, done; kept on disk at each step.

A job is kept before its acceptance is answered. What it writes and its DONE are one transaction. A server that starts
runs the jobs again that were not done; only a script of several statements of which some may be done already ends as an
error then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import transfers
from .errors import LOCAL_ERROR, BigQueryError, already_exists, invalid, not_found, unsupported
from .googlesql import Cancellation, Interrupted, give_memory_back
from .query import Outcome, QueryRun, TableLocks
from .rewrites import USER
from .storage import etag, now_ms

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .googlesql import EvaluatorPool
    from .storage import Resource, Storage

log = logging.getLogger(__name__)

KEPT_JOBS = 20_000
KEPT_MS = 180 * 24 * 3600 * 1000
"""Done jobs are forgotten after 180 days, as in BigQuery, and beyond the newest 20,000."""

MIN_RUNNING_LABEL = "wtmo-min-running-ms"
"""Label of a job that says for how many milliseconds it reports RUNNING at the least; overrides ``--min-running``."""

_SHORT_WAIT_SECONDS = 0.5
_HOUSEKEEPING_SECONDS = 3600
_LARGE_SECONDS = 1.0
_KINDS = ("query", "load", "copy", "extract")
_PARTIAL = "_partial"
_LABEL = re.compile(r"[\w\-]{0,63}")


@dataclass
class _Active:
    """What is only known of a job while it lives in this process."""

    cancellation: Cancellation = field(default_factory=Cancellation)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class Jobs:
    """All jobs. Its coroutines belong to one event loop; the work is done in threads."""

    def __init__(
        self, storage: Storage, pool: EvaluatorPool, *, min_running: float, workers: int, storage_url: str | None = None
    ) -> None:
        """Make the runner.

        :param min_running: seconds for which a job reports RUNNING at the least. :param workers: jobs at work at once.
        :param storage_url: base URL of a Cloud Storage stand-in, for ``gs://``.
        """
        self._storage = storage
        self._pool = pool
        self._min_running = min_running
        self._storage_url = storage_url
        self._locks = TableLocks()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="job")
        self._active: dict[tuple[str, str], _Active] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def locks(self) -> TableLocks:
        """The locks that every writer of a table takes."""
        return self._locks

    # -- start and stop

    async def start(self) -> None:
        """Take up the jobs that an earlier process left."""
        self._start(self._keep_house())
        for job in self._storage.unfinished_jobs():
            log.info("job %s was not done when the server stopped; it runs again", job["jobReference"]["jobId"])
            self._launch(job)

    async def close(self) -> None:
        """Stop; what is not done stays as it is on disk, and runs again at the next start."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for active in self._active.values():
            active.cancellation.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=True, cancel_futures=True)

    # -- requests

    async def insert(self, project: str, body: Resource, upload: bytes | None = None) -> Resource:
        """Accept a job, or answer a dry run.

        :raises BigQueryError: 400 for an impossible configuration, 409 for an id that is taken.
        """
        configuration = body.get("configuration") or {}
        kinds = [kind for kind in _KINDS if configuration.get(kind) is not None]
        if len(kinds) != 1:
            raise BigQueryError("required", "A job needs exactly one of configuration.query, load, copy and extract")
        kind = kinds[0]
        reference = body.get("jobReference") or {}
        job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
        if not isinstance(job_id, str) or not re.fullmatch(r"[\w\-]{1,1024}", job_id):
            raise invalid(f'Invalid job ID "{job_id}". Job IDs may contain letters, numbers, underscores and dashes.')
        if reference.get("projectId") not in {None, project}:
            raise invalid(
                f"jobReference.projectId {reference['projectId']} is not the project of the request, {project}"
            )
        _check_labels(configuration.get("labels") or {})
        now = now_ms()
        job: Resource = {
            "kind": "bigquery#job",
            "id": f"{project}:{reference.get('location') or 'US'}.{job_id}",
            "jobReference": {"projectId": project, "jobId": job_id, "location": reference.get("location") or "US"},
            "configuration": {**configuration, "jobType": kind.upper()},
            "statistics": {"creationTime": str(now)},
            "status": {"state": "PENDING"},
            "user_email": USER,
        }
        if configuration.get("dryRun"):
            answer: Resource = await self._in_thread(self._dry_run, job)
            return answer
        if self._storage.find_job(project, job_id):
            raise already_exists("Job", f"{project}:{job['jobReference']['location']}.{job_id}")
        self._check(job, kind, upload)
        await asyncio.to_thread(self._storage.create_job, project, job_id, job, now, upload)
        self._launch(job)
        if kind != "query" and self._pause(job) == 0:
            # Clients ask once right away and then sleep for a second: let a small load be done when they ask.
            return to_json(await self.wait(project, job_id, _SHORT_WAIT_SECONDS))
        return to_json(job)

    def _pause(self, job: Resource) -> float:
        """Seconds for which the job reports RUNNING at the least."""
        label = (job["configuration"].get("labels") or {}).get(MIN_RUNNING_LABEL)
        return int(label) / 1000 if label else self._min_running

    def _check(self, job: Resource, kind: str, upload: bytes | None) -> None:
        """Refuse at once what can never run."""
        configuration, project = job["configuration"][kind], job["jobReference"]["projectId"]
        if kind == "query":
            QueryRun(self._storage, self._pool, self._locks, configuration, project)
        else:
            transfers.check(kind, configuration, project, upload is not None, self._storage_url)

    def _dry_run(self, job: Resource) -> Resource:
        configuration = job["configuration"]
        if "query" not in configuration:
            raise unsupported("dry run of a job that is no query", query=False)
        run = QueryRun(
            self._storage,
            self._pool,
            self._locks,
            configuration["query"],
            job["jobReference"]["projectId"],
            dry_run=True,
            storage_url=self._storage_url,
        )
        outcome = run.analyze()
        job["status"]["state"] = "DONE"
        del job["jobReference"]["jobId"]
        self._add_query_statistics(job, outcome)
        statistics = job["statistics"]["query"]
        if outcome.fields is not None:
            statistics["schema"] = {"fields": outcome.fields}
        return to_json(job)

    def get(self, project: str, job_id: str, location: str | None = None) -> Resource:
        """A job as it is now.

        :raises BigQueryError: 404; also for another location than the job's.
        """
        job = self._storage.find_job(project, job_id)
        if job is None or (location and location.lower() != job["jobReference"]["location"].lower()):
            raise not_found("Job", f"{project}:{location + '.' if location else ''}{job_id}")
        return job

    async def wait(self, project: str, job_id: str, seconds: float) -> Resource:
        """A job when it is done, or after so many seconds as it is then."""
        if active := self._active.get((project, job_id)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await active.done.wait()
        return self.get(project, job_id)

    async def cancel(self, project: str, job_id: str, location: str | None = None) -> Resource:
        """Ask a job to stop; it ends as ``stopped`` unless it is done already."""
        self.get(project, job_id, location)
        if active := self._active.get((project, job_id)):
            active.cancellation.cancel()
            active.cancelled.set()
        return self.get(project, job_id)

    def delete(self, project: str, job_id: str) -> None:
        """Forget a job that is done."""
        if self.get(project, job_id)["status"]["state"] != "DONE":
            raise invalid(f"Job {job_id} is not done")
        self._storage.delete_job(project, job_id)

    # -- work

    def _launch(self, job: Resource) -> None:
        reference = job["jobReference"]
        key = (reference["projectId"], reference["jobId"])
        self._active[key] = _Active()
        task = self._start(self._live(job, self._active[key]))
        task.add_done_callback(lambda _: self._active.pop(key, None))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _keep_house(self) -> None:
        """Now and every hour: forget old jobs and results."""
        while True:
            self._storage.prune_jobs(keep=KEPT_JOBS, oldest=now_ms() - KEPT_MS)
            self._storage.delete_expired()
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)

    async def _live(self, job: Resource, active: _Active) -> None:
        try:
            await self._run(job, active)
        except Exception:  # the end could not be kept: a full disk, for example
            log.exception("job %s", job["jobReference"]["jobId"])
        finally:
            active.done.set()

    async def _run(self, job: Resource, active: _Active) -> None:
        job["status"] = {"state": "RUNNING"}
        job["statistics"]["startTime"] = str(now_ms())
        await self._in_thread(self._save, job)
        if pause := self._pause(job):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await active.cancelled.wait()
        started = time.monotonic()
        await self._in_thread(self._work, job, active.cancellation)
        if time.monotonic() - started > _LARGE_SECONDS:
            await self._in_thread(give_memory_back)

    def _work(self, job: Resource, cancellation: Cancellation) -> None:
        """Do a job in this thread and keep its end."""
        started = time.monotonic()
        project, job_id = job["jobReference"]["projectId"], job["jobReference"]["jobId"]
        kind = job["configuration"]["jobType"].lower()

        def finish(outcome: Outcome) -> None:
            if cancellation.cancelled:
                raise Interrupted
            self._add_statistics(job, kind, outcome)
            self._end(job, None)

        def progress() -> None:
            job[_PARTIAL] = True
            self._save(job)

        try:
            if job.get(_PARTIAL):
                raise BigQueryError(
                    LOCAL_ERROR,
                    "The server stopped in the midst of this script. Statements before the last may have been done.",
                )
            if cancellation.cancelled:
                raise Interrupted
            configuration = job["configuration"][kind]
            if kind == "query":
                run = QueryRun(
                    self._storage,
                    self._pool,
                    self._locks,
                    configuration,
                    project,
                    job=job_id,
                    cancellation=cancellation,
                    storage_url=self._storage_url,
                )
                run.run(finish, progress)
            else:
                upload = self._storage.upload(project, job_id)
                transfers.run(
                    kind, self._storage, self._locks, configuration, project, upload, self._storage_url, finish
                )
        except Interrupted:
            if self._closing:
                return
            self._end(job, BigQueryError("stopped", "Job execution was cancelled: User requested cancellation"))
        except BigQueryError as error:
            self._end(job, error)
        except Exception:
            log.exception("job %s", job_id)
            self._end(job, BigQueryError(LOCAL_ERROR, f"The local BigQuery failed in job {job_id}; its log says why"))
        log.info(
            "job %s %s %s in %.2f s%s",
            job_id,
            kind,
            job["statistics"].get("query", {}).get("statementType", ""),
            time.monotonic() - started,
            ": " + job["status"]["errorResult"]["message"] if "errorResult" in job["status"] else "",
        )

    def _end(self, job: Resource, error: BigQueryError | None) -> None:
        job["status"] = {"state": "DONE"}
        if error:
            job["status"] |= {"errorResult": error.proto(), "errors": [error.proto()]}
        job["statistics"]["endTime"] = str(now_ms())
        job.pop(_PARTIAL, None)
        self._save(job)

    def _save(self, job: Resource) -> None:
        self._storage.save_job(job["jobReference"]["projectId"], job["jobReference"]["jobId"], job)

    def _add_statistics(self, job: Resource, kind: str, outcome: Outcome) -> None:
        if kind == "query":
            self._add_query_statistics(job, outcome)
        elif kind == "load":
            job["statistics"]["load"] = {
                "inputFiles": str(sum(outcome.file_counts)),
                "inputFileBytes": str(outcome.input_bytes),
                "outputRows": str(outcome.written),
                "outputBytes": str(outcome.output_bytes),
                "badRecords": str(outcome.bad_records),
            }
        elif kind == "copy":
            job["statistics"]["copy"] = {
                "copiedRows": str(outcome.written),
                "copiedLogicalBytes": str(outcome.output_bytes),
            }
        else:
            job["statistics"]["extract"] = {"destinationUriFileCounts": [str(n) for n in outcome.file_counts]}

    def _add_query_statistics(self, job: Resource, outcome: Outcome) -> None:
        size = str(sum(self._size(ref) for ref in outcome.references))
        query: Resource = {
            "statementType": outcome.statement_type,
            "totalBytesProcessed": size,
            "totalBytesBilled": size,
            "totalSlotMs": "0",
            "cacheHit": False,
            "referencedTables": [ref.to_json() for ref in outcome.references],
        }
        if outcome.written is not None:
            stage = {"name": "S00: Output", "id": "0", "status": "COMPLETE", "recordsWritten": str(outcome.written)}
            query["queryPlan"] = [stage]
        if outcome.affected is not None:
            query["numDmlAffectedRows"] = str(outcome.affected)
            counts = {
                "insertedRowCount": outcome.inserted,
                "updatedRowCount": outcome.updated,
                "deletedRowCount": outcome.deleted,
            }
            query["dmlStats"] = {name: str(count) for name, count in counts.items()}
        if outcome.ddl_operation:
            query["ddlOperationPerformed"] = outcome.ddl_operation
        if outcome.ddl_target:
            query["ddlTargetTable"] = outcome.ddl_target.to_json()
        if outcome.destination:
            job["configuration"]["query"].setdefault("destinationTable", outcome.destination.to_json())
        if outcome.fields is not None:
            query["_schema"] = {"fields": outcome.fields}
        if outcome.statement_type == "SCRIPT":
            job["statistics"]["numChildJobs"] = "0"
        job["statistics"] |= {"query": query, "totalBytesProcessed": size, "totalSlotMs": "0"}

    def _size(self, ref: Any) -> int:
        table = self._storage.find_table(ref)
        return sum(part.size for part in self._storage.partitions(table.id)) if table else 0

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _check_labels(labels: Any) -> None:
    if not isinstance(labels, dict) or len(labels) > 64:
        raise invalid("labels must be at most 64 pairs of text")
    for key, value in labels.items():
        if (
            not key
            or not _LABEL.fullmatch(key)
            or not isinstance(value, str)
            or not _LABEL.fullmatch(value)
            or (key + value).lower() != key + value
        ):
            raise invalid(
                f"Invalid label {key}={value}: at most 63 lower-case letters, digits, dashes and underscores", "labels"
            )
    if not labels.get(MIN_RUNNING_LABEL, "0").isdecimal():
        raise invalid(f"label {MIN_RUNNING_LABEL} must be milliseconds")


def to_json(job: Resource) -> Resource:
    """A job as the API answers it."""
    result = {key: value for key, value in job.items() if not key.startswith("_")}
    result["statistics"] = dict(job["statistics"])
    if query := job["statistics"].get("query"):
        result["statistics"]["query"] = {key: value for key, value in query.items() if not key.startswith("_")}
    reference = job["jobReference"]
    if "jobId" in reference:
        place = f"?location={reference['location']}"
        result["selfLink"] = f"/bigquery/v2/projects/{reference['projectId']}/jobs/{reference['jobId']}{place}"
    return result | {"etag": etag(result)}
