"""BigQuery as the commands use it: clients, labelled query jobs that say what they do, and messages with a place.

google-cloud-bigquery takes a second to import, so it is imported by the first function that needs it.
"""

from __future__ import annotations

import re
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

from utils.labels import label_value
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.api_core.retry import Retry
    from google.cloud import bigquery

    from wtmo.local.bqetl.checkout import TableFolder

PATIENCE = 30.0  # seconds to go on asking a BigQuery that does not answer
AIRFLOW_LABELS = {
    "airflow-dag": "AIRFLOW_CTX_DAG_ID",
    "airflow-task": "AIRFLOW_CTX_TASK_ID",
    "airflow-run": "AIRFLOW_CTX_DAG_RUN_ID",
    "airflow-try": "AIRFLOW_CTX_TRY_NUMBER",
}
# On a job whose table is an intermediate result: its rows are not rows that the task wrote.
TEMPORARY = {"wtmo-temporary": "true"}

_POSITION = re.compile(r"at \[(\d+):(\d+)\]")


class QueryError(Exception):
    """BigQuery refused a query or gave it up: exit status 1.

    :param reason: BigQuery's reason, such as ``invalidQuery``; empty when it gave none.
    :param job: the job, ``project:location.id``; empty when none was made.
    """

    def __init__(self, message: str, *, reason: str = "", job: str = "") -> None:
        """End the message with the job, if there is one."""
        super().__init__(f"{message}\n  job {job}" if job else message)
        self.reason = reason


def say(text: str) -> None:
    """Write a line to the task's log at once, whole even when several threads write."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def airflow_labels(environment: Mapping[str, str]) -> dict[str, str]:
    """Labels that lead from a job to its task instance; one whose variable is missing is left out."""
    return {label: label_value(environment[name]) for label, name in AIRFLOW_LABELS.items() if environment.get(name)}


class Warehouse:
    """Runs jobs. Safe to use from several threads.

    :param environment: variables of the process: ``BIGQUERY_EMULATOR_HOST`` and the ``AIRFLOW_CTX_*`` of the pod.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read the environment; nothing is contacted yet."""
        self.url = environment.get("BIGQUERY_EMULATOR_HOST", "")
        self.labels = airflow_labels(environment)
        self._clients: dict[str, bigquery.Client] = {}
        self._running: dict[str, bigquery.Client] = {}
        self._stopped = False
        self._lock = threading.Lock()

    def client(self, project: str) -> bigquery.Client:
        """The client that bills ``project``.

        :raises WtmoError: no local BigQuery is named. This program makes datasets and tables as it needs them, so it
            never falls back to Google's.
        """
        if not self.url:
            raise WtmoError(
                "BIGQUERY_EMULATOR_HOST is not set: this program works on a local BigQuery only",
                fix="Set BIGQUERY_EMULATOR_HOST=http://127.0.0.1:<port>; `wtmo status` shows the port.",
            )
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        with self._lock:
            if project not in self._clients:
                credentials = AnonymousCredentials()
                self._clients[project] = bigquery.Client(project, credentials)
            return self._clients[project]

    @property
    def retry(self) -> Retry:
        """google-cloud-bigquery's retries, cut short: a local BigQuery is there or it is not."""
        from google.cloud import bigquery

        return bigquery.DEFAULT_RETRY.with_timeout(PATIENCE)

    def run(
        self, sql: str, *, what: str, project: str, config: bigquery.QueryJobConfig, prefix: str = "bqetl_"
    ) -> bigquery.QueryJob:
        """Run one query job to its end, cancelling it when this process is told to end.

        :param what: the file or step, for messages.
        :param project: the project that the job runs in and bills.
        :raises QueryError: with BigQuery's message, ``what`` and the line of the SQL it points at.
        """
        from google.api_core.exceptions import GoogleAPIError

        if self._stopped:
            raise QueryError(f"{what}: not started, because the task was told to end")
        config.labels = {**config.labels, **self.labels}
        config.use_legacy_sql = False
        client = self.client(project)
        job_id = f"{prefix}{uuid.uuid4()}"  # known before it is sent, so that it can be cancelled at any moment
        self._running[job_id] = client
        name = ""
        try:
            job = client.query(sql, config, job_id=job_id, retry=self.retry, job_retry=None)
            if not config.dry_run:
                name = job_name(job)
                job.result(retry=self.retry, job_retry=None)
                job.reload(retry=self.retry)
        except (GoogleAPIError, OSError) as error:
            raise self.explain(error, what=what, sql=sql, job=name) from error
        finally:
            del self._running[job_id]
        return job

    def rows(self, job: bigquery.QueryJob, *, what: str, most: int | None = None) -> list[dict[str, Any]]:
        """The rows that a query gave, at most ``most`` of them."""
        from google.api_core.exceptions import GoogleAPIError

        try:
            return [dict(row.items()) for row in job.result(max_results=most, retry=self.retry)]
        except (GoogleAPIError, OSError) as error:
            raise self.explain(error, what=what) from error

    def stop(self) -> None:
        """Cancel the jobs that run, and start no more. Takes no lock: a signal handler calls it."""
        from google.api_core.exceptions import GoogleAPIError

        self._stopped = True
        for job_id, client in list(self._running.items()):
            try:
                client.cancel_job(job_id, retry=self.retry.with_timeout(5), timeout=5)
                say(f"Cancelled {client.project}:{job_id}")
            except (GoogleAPIError, OSError) as error:
                say(f"Could not cancel {client.project}:{job_id}: {error}")

    def explain(self, error: Exception, *, what: str, sql: str = "", job: str = "") -> QueryError:
        """Turn a client library's error into a message that says what and where."""
        from google.api_core.exceptions import GoogleAPICallError, RetryError

        cause = error.cause if isinstance(error, RetryError) and error.cause else error
        if not isinstance(cause, GoogleAPICallError):
            return QueryError(f"{what}: BigQuery at {self.url} does not answer: {cause}")
        detail = next((item for item in cause.errors or [] if isinstance(item, dict)), {})
        message = str(detail.get("message") or cause.message)
        return QueryError(f"{what}: {message}{point_at(sql, message)}", reason=str(detail.get("reason", "")), job=job)

    def table(self, name: str, *, project: str) -> bigquery.Table | None:
        """The table ``project.dataset.table``, or None when it (or its dataset) does not exist."""
        from google.api_core.exceptions import GoogleAPIError, NotFound

        try:
            return self.client(project).get_table(name, retry=self.retry)
        except NotFound:
            return None
        except (GoogleAPIError, OSError) as error:
            raise self.explain(error, what=name) from error

    def create_table(self, name: str, folder: TableFolder, *, project: str) -> None:
        """Create the table as its folder declares it: schema.yaml, and partitioning and clustering of metadata.yaml.

        In production another job does this before a query runs for the first time.
        """
        from google.api_core.exceptions import GoogleAPIError
        from google.cloud import bigquery

        table = bigquery.Table(name, schema=schema_fields(folder.schema))
        partitioning, clustering = storage_layout(folder.metadata)
        if partitioning:
            table.time_partitioning = partitioning
            table.require_partition_filter = bool(
                folder.metadata["bigquery"]["time_partitioning"].get("require_partition_filter")
            )
        if clustering:
            table.clustering_fields = clustering
        table.friendly_name = folder.metadata.get("friendly_name")
        table.description = folder.metadata.get("description")
        try:
            self.client(project).create_table(table, exists_ok=True, retry=self.retry)
        except (GoogleAPIError, OSError) as error:
            raise self.explain(error, what=f"creating {name}") from error
        by = f", partitioned by {partitioning.type_.lower()} on {partitioning.field}" if partitioning else ""
        say(f"Created {name} with the {len(table.schema)} columns of schema.yaml{by}")

    def create_dataset(self, name: str, *, project: str, temporary: bool = False) -> None:
        """Make sure that the dataset ``project.dataset`` exists.

        :param temporary: it is for intermediate results: its tables go after a day if nobody drops them.
        """
        from google.api_core.exceptions import GoogleAPIError
        from google.cloud import bigquery

        dataset = bigquery.Dataset(name)
        if temporary:
            dataset.default_table_expiration_ms = 24 * 60 * 60 * 1000
        try:
            self.client(project).create_dataset(dataset, exists_ok=True, retry=self.retry)
        except (GoogleAPIError, OSError) as error:
            raise self.explain(error, what=f"creating {name}") from error

    def delete_tables(self, names: Iterable[str], *, project: str) -> None:
        """Delete tables, those that do not exist too."""
        from google.api_core.exceptions import GoogleAPIError

        for name in names:
            try:
                self.client(project).delete_table(name, not_found_ok=True, retry=self.retry)
            except (GoogleAPIError, OSError) as error:
                say(f"Could not delete the temporary table: {self.explain(error, what=name)}")


def schema_fields(fields: Sequence[Mapping[str, Any]]) -> list[bigquery.SchemaField]:
    """Fields of a schema.yaml or schema.json as the client library's."""
    from google.cloud import bigquery

    return [bigquery.SchemaField.from_api_repr({"mode": "NULLABLE", **field}) for field in fields]


def storage_layout(metadata: Mapping[str, Any]) -> tuple[bigquery.TimePartitioning | None, list[str]]:
    """Time partitioning (None: none) and clustering fields that a metadata.yaml asks for."""
    from google.cloud import bigquery

    layout = metadata.get("bigquery") or {}
    clustering = list((layout.get("clustering") or {}).get("fields") or [])
    declared = layout.get("time_partitioning")
    if not declared:
        return None, clustering
    days = declared.get("expiration_days")
    partitioning = bigquery.TimePartitioning(
        type_=str(declared.get("type", "day")).upper(),
        field=declared.get("field"),
        expiration_ms=int(days * 24 * 60 * 60 * 1000) if days else None,
    )
    return partitioning, clustering


def point_at(sql: str, message: str) -> str:
    """The line of ``sql`` that BigQuery's ``at [line:column]`` means, with a mark below; empty without a position."""
    found = _POSITION.search(message)
    lines = sql.splitlines()
    if not found or not 0 < int(found[1]) <= len(lines):
        return ""
    line, column = int(found[1]), int(found[2])
    number = f"  {line} | "
    return f"\n{number}{lines[line - 1]}\n{' ' * (len(number) + column - 1)}^"


def job_name(job: bigquery.QueryJob) -> str:
    """``project:location.id``, as BigQuery's console writes it."""
    return f"{job.project}:{job.location}.{job.job_id}"


def rows_written(job: bigquery.QueryJob) -> int | None:
    """Rows that the job wrote, as BigQuery counts them: of a query with a destination, or of DML; None of others."""
    if job.num_dml_affected_rows is not None:
        return int(job.num_dml_affected_rows)
    plan = job.query_plan
    return int(plan[-1].records_written) if plan and plan[-1].records_written is not None else None
