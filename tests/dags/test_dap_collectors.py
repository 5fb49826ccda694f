"""Collectors append: which of them are tried again, and how each gets its keys."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.dags.rendering import Run, rendered

if TYPE_CHECKING:
    from airflow.sdk import DAG

RUN = Run("2026-06-01T00:15:00Z", end="2026-06-02T00:15:00Z")


class Names(dict[str, str]):
    """Variables whose value is their own name."""

    def __missing__(self, name: str) -> str:
        return name


def command(dags: dict[str, DAG], dag_id: str) -> list[str]:
    words: list[str] = rendered(dags[dag_id], dag_id, "arguments", RUN, var={"value": Names()})
    return words


@pytest.mark.parametrize(
    ("dag_id", "start", "keys"),
    [
        (
            "dap_collector",
            ["python", "dap_collector/main.py", "--date=2026-06-01"],
            ["--auth-token=dap_auth_token", "--hpke-private-key=dap_hpke_private_key"],
        ),
        (
            "dap_collector_ppa_dev",
            ["python", "dap_collector_ppa_dev/main.py", "--date=2026-06-02T00:00:00+00:00"],
            ["--auth-token=dap_ppa_dev_auth_token", "--hpke-private-key=dap_ppa_dev_hpke_private_key"],
        ),
        (
            "dap_collector_ppa_prod",
            ["python", "dap_collector_ppa_prod/main.py", "--date=2026-06-02T00:00:00+00:00"],
            [],
        ),
    ],
)
def test_what_is_collected_and_with_which_keys(
    dags: dict[str, DAG], dag_id: str, start: list[str], keys: list[str]
) -> None:
    words = command(dags, dag_id)
    variables = "dap" if dag_id == "dap_collector" else dag_id.replace("_collector", "")
    assert words[: 3 + len(keys)] == [*start, *keys]
    assert words[3 + len(keys)] == f"--task-config-url={variables}_task_config_url"
    task: Any = dags[dag_id].get_task(dag_id)
    assert bool(task.secrets) is not bool(keys)


def test_the_keys_of_production_are_on_no_command_line(dags: dict[str, DAG]) -> None:
    for dag_id in ("dap_collector_ppa_prod", "ads_incrementality", "ads_newtab_attribution"):
        assert not [word for word in command(dags, dag_id) if "token" in word or "key" in word]


@pytest.mark.parametrize(
    ("dag_id", "retries"),
    [
        ("dap_collector", 1),
        ("dap_collector_ppa_dev", 0),
        ("dap_collector_ppa_prod", 0),
        ("ads_incrementality", 0),
        ("ads_newtab_attribution", 0),
    ],
)
def test_what_appends_is_not_tried_again(dags: dict[str, DAG], dag_id: str, retries: int) -> None:
    """But for one, which production tries again after the leader had two hours."""
    task = dags[dag_id].get_task(dag_id)
    assert task.retries == retries
    assert not retries or task.retry_delay == timedelta(hours=2)
