"""What the ad partner gets: which table, under which name, on which server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import jinja2
import pytest

from tests.dags.rendering import Run, rendered
from utils.config import CONNECTIONS

if TYPE_CHECKING:
    from airflow.sdk import DAG

RUN = Run("2026-06-01T10:00:00Z", end="2026-06-02T10:00:00Z")
SERVER = SimpleNamespace(
    login="us", host="sftp.example.com", port=2222, extra_dejson={"known_hosts": "sftp.example.com ssh-rsa AAAA"}
)


def environment(dag: DAG, task_id: str, server: SimpleNamespace = SERVER) -> dict[str, str]:
    variables = rendered(dag, task_id, "env_vars", RUN, conn={CONNECTIONS.adm_sftp: server})
    return {variable.name: variable.value for variable in variables}


@pytest.mark.parametrize(
    ("dag_id", "table", "file"),
    [
        ("adm_export", "adm_daily_aggregates", "Aggregated-Query-Data-06012026.csv.gz"),
        ("adm_dma_export", "adm_daily_dma_aggregates", "Aggregated-DMA-Query-Data-06012026.csv.gz"),
    ],
)
def test_the_table_of_the_day_is_sent(dags: dict[str, DAG], dag_id: str, table: str, file: str) -> None:
    dag = dags[dag_id]
    assert environment(dag, f"{table}_to_sftp") == {
        "SFTP_USERNAME": "us",
        "SFTP_HOST": "sftp.example.com",
        "SFTP_PORT": "2222",
        "KNOWN_HOSTS": "sftp.example.com ssh-rsa AAAA",
        "SRC_TABLE": f"moz-fx-data-shared-prod.search_terms_derived.{table}_v1",
        "DST_PATH": f"files/{file}",
        "SUBMISSION_DATE": "2026-06-01",
    }
    assert dag.get_task(f"{table}_to_sftp").upstream_task_ids == {f"wait_for_{table}"}


def test_without_the_servers_key_nothing_is_sent(dags: dict[str, DAG]) -> None:
    """The program would otherwise trust any server."""
    unknown = SimpleNamespace(login="us", host="sftp.example.com", port=2222, extra_dejson={})
    with pytest.raises(jinja2.UndefinedError, match="known_hosts"):
        environment(dags["adm_export"], "adm_daily_aggregates_to_sftp", unknown)
