"""Collect the aggregates of privacy-preserving measurement: three collectors, one DAG each.

## Where the data comes from and goes

Clients send their measurements split between two servers, so that only sums can be opened (Distributed Aggregation
Protocol, DAP). Each collector reads at a URL (a variable) which tasks there are, asks the leader for the sums of a day,
opens them and appends them:

| DAG | what | tables |
|---|---|---|
| `dap_collector` | measurements of Firefox | `moz-fx-data-shared-prod.dap_collector_derived.aggregates_v1` |
| `dap_collector_ppa_dev` | ad attribution, test environment | `moz-fx-ads-nonprod.ppa_dev`: `measurements`, `reports` |
| `dap_collector_ppa_prod` | ad attribution | `moz-fx-ads-prod.ppa`: `measurements`, `reports` |

The first collects the run's `ds`. Those of ad attribution take the midnight at which a collection ends, which is that
of the end of the run's interval. The programs are
[`jobs/dap-collector*`](https://github.com/mozilla/docker-etl/tree/main/jobs) of docker-etl.

## When it fails

The team ads looks at it; nothing waits for it, and single failures are expected. An aggregate that could not be had
(too few reports, a time-out) fails nothing: it is a row with its `error`. A run that does fail could not read its tasks
or not write.

Two of the three take their token and private key as arguments, so both show in the pod's specification.
`dap_collector_ppa_prod` has them as secrets, as the others should once their programs read them from the environment.

## How to re-run it

Clear the task, soon: the leader keeps reports for some days only. Rows are appended, so what a failed run had written
is there twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag


@dataclass(frozen=True)
class Collector:
    """A collector. Its task, its image (with ``-``) and its program have the name of its DAG.

    :param day: what it collects, as a template.
    :param flags: flags whose values are variables of Airflow, ``<dag_id>_<flag>`` without ``_collector``.
    :param secrets: keys of the cluster's secret, by the environment variable that gets each.
    """

    dag_id: str
    schedule: str
    start_date: datetime
    day: str
    flags: tuple[str, ...]
    target: tuple[str, ...]  # project, then the tables
    secrets: dict[str, str] = field(default_factory=dict)
    retries: int = 0


KEYS = ("auth-token", "hpke-private-key")
INTERVAL_END = "{{ data_interval_end.at(0) | ts }}"
COLLECTORS = (
    Collector(
        "dap_collector",
        "@daily",
        datetime(2023, 3, 8),
        "{{ ds }}",
        (*KEYS, "task-config-url"),
        (WAREHOUSE_PROJECT, "--table-id", "dap_collector_derived.aggregates_v1"),
        retries=1,
    ),
    Collector(
        "dap_collector_ppa_dev",
        "15 0 * * *",
        datetime(2024, 4, 30),
        INTERVAL_END,
        (*KEYS, "task-config-url", "ad-config-url"),
        ("moz-fx-ads-nonprod", "--ad-table-id", "ppa_dev.measurements", "--report-table-id", "ppa_dev.reports"),
    ),
    Collector(
        "dap_collector_ppa_prod",
        "15 0 * * *",
        datetime(2024, 6, 26),
        INTERVAL_END,
        ("task-config-url", "ad-config-url"),
        ("moz-fx-ads-prod", "--ad-table-id", "ppa.measurements", "--report-table-id", "ppa.reports"),
        secrets={"HPKE_PRIVATE_KEY": "DAP_PPA_PROD_HPKE_PRIVATE_KEY", "AUTH_TOKEN": "DAP_PPA_PROD_AUTH_TOKEN"},
    ),
)

for collector in COLLECTORS:
    variables = collector.dag_id.replace("_collector", "")
    with DAG(
        collector.dag_id,
        doc_md=__doc__,
        schedule=collector.schedule,
        start_date=collector.start_date,
        default_args=default_args(
            owner="ads", triaged=False, retries=collector.retries, retry_delay=timedelta(hours=2)
        ),
        tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
    ):
        GKEPodOperator(
            task_id=collector.dag_id,
            image=image(collector.dag_id.replace("_", "-")),
            arguments=[
                *("python", f"{collector.dag_id}/main.py", f"--date={collector.day}"),
                *(f"--{flag}={{{{ var.value.{variables}_{flag.replace('-', '_')} }}}}" for flag in collector.flags),
                *("--project", *collector.target),
            ],
            secrets=pod_secrets(None, **collector.secrets),
        )
