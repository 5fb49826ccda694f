"""Brings in the DAG files that bigquery-etl generates: see docs/imports.md."""
