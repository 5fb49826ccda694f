"""Names that several rooms share. The states are named by imported DAGs too: a contract with their generator."""

from __future__ import annotations

ALLOWED_STATES = ["success"]
"""A sensor goes on when its target has one of these states."""

FAILED_STATES = ["failed", "upstream_failed", "skipped"]
"""A sensor fails at once, without waiting for its timeout, when its target has one of these states."""

BIGQUERY_JOBS_KEY = "bigquery_jobs"
"""Under it a task's note of its BigQuery jobs is in the task state store, until a try has seen their end."""
