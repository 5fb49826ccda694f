"""BigQuery as the commands use it: clients, labelled query jobs that say what they do, and messages with a place.

google-cloud-bigquery takes a second to import, so it is imported by the first function that needs it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

from utils.bqetl.jobs import airflow_labels, job_name, point_at
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterable, Mapping

    from google.api_core.retry import Retry
    from google.cloud import bigquery

PATIENCE = 30.0  # seconds to go on asking a BigQuery that does not answer


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


def refuse_legacy_sql(options: argparse.Namespace) -> None:
    """The local BigQuery has GoogleSQL only.

    :raises WtmoError: the options ask for legacy SQL.
    """
    if options.use_legacy_sql:
        raise WtmoError("--use_legacy_sql=true: legacy SQL does not run here", fix="Write GoogleSQL.")


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
        with self.explaining(what):
            return [dict(row.items()) for row in job.result(max_results=most, retry=self.retry)]

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

    @contextlib.contextmanager
    def explaining(self, what: str) -> Generator[None]:
        """Turn the client library's errors into messages that say what and where."""
        from google.api_core.exceptions import GoogleAPIError

        try:
            yield
        except (GoogleAPIError, OSError) as error:
            raise self.explain(error, what=what) from error

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
        from google.api_core.exceptions import NotFound

        with self.explaining(name):
            try:
                return self.client(project).get_table(name, retry=self.retry)
            except NotFound:
                return None

    def delete_tables(self, names: Iterable[str], *, project: str) -> None:
        """Delete tables, those that do not exist too."""
        from google.api_core.exceptions import GoogleAPIError

        for name in names:
            try:
                self.client(project).delete_table(name, not_found_ok=True, retry=self.retry)
            except (GoogleAPIError, OSError) as error:
                say(f"Could not delete the temporary table: {self.explain(error, what=name)}")
