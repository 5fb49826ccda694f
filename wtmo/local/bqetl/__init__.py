"""The program that stands for the bigquery-etl image: ``python -m wtmo.local.bqetl <the container's command and arguments>``.

It runs the commands of the image that the platform's DAGs use, on a folder in bigquery-etl's layout (environment
variable ``BQETL_CHECKOUT``), against the local BigQuery (``BIGQUERY_EMULATOR_HOST``), never against Google's. Programs that reach beyond
queries are recorded (:mod:`wtmo.local.bqetl.recorded`). What it does not know it refuses by name. Exit status: 0 done, 1 BigQuery refused something or a check failed,
2 wrong usage or a missing file, 143 ended by SIGTERM after cancelling its jobs.
"""
