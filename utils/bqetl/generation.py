"""Generating the SQL of bigquery-etl before a step that needs it, for DAGs with the parameter ``generate_sql``."""

from __future__ import annotations

GENERATE_SQL = (
    "{{ 'script/bqetl generate all --ignore derived_view_schemas --use-cloud-function=false && ' "
    "if params.generate_sql else '' }}"
)
"""What a shell line begins with: generates the SQL if the run asks for it."""

REQUESTS = {
    "memory": "{{ '6Gi' if params.generate_sql else '2Gi' }}",
    "cpu": "{{ '4' if params.generate_sql else '1' }}",
}
"""What a pod with such a line asks for. Generating takes some 4 GB."""
