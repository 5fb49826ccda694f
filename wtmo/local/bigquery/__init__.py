"""A local BigQuery: the REST API of BigQuery on Google's own open GoogleSQL evaluator, for test-sized data.

``python -m wtmo.local.bigquery --port 9050 --state DIR`` serves ``http://127.0.0.1:9050/bigquery/v2``; clients find it
by ``BIGQUERY_EMULATOR_HOST``. SQL is analysed and evaluated by ZetaSQL (the ``zetasql`` wheel, a WebAssembly build run
by ``wasmtime``), so names, types, coercions, functions and error positions are BigQuery's own. Rows are kept in SQLite
under ``--state`` in the evaluator's own encoding: a query reads them without converting, but for the days and columns
that it can do without (:mod:`wtmo.local.bigquery.pruning`). With ``--checkout``, queries also find what a folder in
bigquery-etl's layout describes (:mod:`wtmo.local.bigquery.definitions`, which reads it by :mod:`utils.bqetl.checkout`).

What it does
    Jobs: query, load (multipart and resumable upload of newline-delimited JSON and CSV; ``gs://`` with
    ``--storage-url``), copy, and extract (with ``--storage-url``); client-chosen ids (409 on reuse), labels, dry run,
    cancellation, a configurable running time. Datasets, tables, logical views, persistent SQL functions,
    ``tabledata.list`` and ``insertAll``. Partitions by hour, day, month, year (column or ingestion time) and by integer
    range; ``table$20260601`` replaces or extends exactly that partition. SELECT, INSERT, UPDATE, DELETE, MERGE,
    TRUNCATE, CREATE/DROP of tables, views, functions, schemas; EXPORT DATA as CSV and JSON; plain sequences of statements. A write and the job's
    DONE are one transaction: a job that was reported DONE has its rows after ``kill -9``; a job that was accepted and
    not finished runs again at the next start.

What it refuses, by name, with ``not supported by the local BigQuery: ...`` (reason ``notImplemented`` or
``invalidQuery``)
    Scripting (DECLARE, SET, IF, loops, procedures, transactions), JavaScript and remote functions, table functions,
    GEOGRAPHY, legacy SQL, time travel, snapshots and clones, row access policies, external tables, materialised views,
    models, sessions, connection properties other than ``dataset_project_id``.

What differs
    Byte counts are the stored size of all partitions of the tables read. Slots, quotas, reservations and permissions do
    not exist. Views are evaluated whole before the query that names them. Table expiration is recorded, not enforced,
    but for anonymous results.
"""

from __future__ import annotations
