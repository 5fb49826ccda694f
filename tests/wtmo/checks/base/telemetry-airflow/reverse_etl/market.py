"""Send the week's juice to two markets, a DAG each.

## Where the data comes from and goes

Juice of `orchard_derived.juice_v1` goes to the markets.

## When it fails

Clear the task: it can run again at any time.

## How to re-run it

Clear the task. Each run replaces its day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag


@dataclass(frozen=True)
class Market:
    """A market and how much it takes."""

    name: str
    bottles: int


MARKETS = (Market("north", 100), Market("south", 200))

for market in MARKETS:
    with DAG(
        f"market_{market.name}",
        doc_md=__doc__,
        schedule="0 3 * * 1",
        start_date=datetime(2024, 1, 1),
        default_args=default_args(owner="ads"),
        tags=[Tag.ImpactTier.tier_3, Tag.Triage.record_only],
    ):
        wait_for("press", "juice", delta=timedelta(days=-6)) >> GKEPodOperator(
            task_id="send",
            image=image("jetstream"),
            arguments=["send", f"--bottles={market.bottles}", "--week={{ ds }}"],
            resources="small",
        )
