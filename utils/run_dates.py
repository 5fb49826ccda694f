"""Which day a run is for, by what started it: parts of templates.

Airflow 2 had ``dag_run.external_trigger`` for it, and ``next_execution_date``, which was the next run's date for a run
by schedule and its own for any other. Airflow 3 has ``dag_run.run_type`` instead. Put them into a template's
expression::

    f"{{{{ data_interval_end if {BY_SCHEDULE} else {ASKED_FOR} }}}}"
"""

from __future__ import annotations

BY_SCHEDULE = "dag_run.run_type in ('scheduled', 'backfill')"
"""Whether the schedule made the run, also in a backfill. Not so: by hand, by the API, by another DAG."""

ASKED_FOR = "(dag_run.logical_date or dag_run.run_after)"
"""The moment that a run by hand is for. One that was started without a logical date goes by when it was started."""
