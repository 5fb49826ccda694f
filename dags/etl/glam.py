"""Compute what GLAM shows of the probes of Firefox on Android and on desktop: four DAGs, two a product.

## Where the data comes from and goes

| DAG | when | what |
|---|---|---|
| `glam_fenix`, `glam_fog` | daily | adds the day's pings to each client's aggregates; counts beta and nightly |
| `glam_fenix_release`, `glam_fog_release` | Saturdays | counts release, with the pings up to Friday |

Fenix is Firefox for Android, FOG (Firefox on Glean) is Firefox on desktop. Both read the Glean pings of the stable
tables and write to `moz-fx-glam-prod.glam_etl`; [GLAM](https://glam.telemetry.mozilla.org) reads the tables
`..extract_probe_counts_v1` and `..extract_user_counts_v1`. Every task makes its SQL from [bigquery-etl's
templates](https://github.com/mozilla/bigquery-etl/tree/main/bigquery_etl/glam) and runs it. What is too large for one
query is done in parts, by samples of clients: the first part replaces the table, each other one appends to it.

## When it fails

Tell the owning team the same day. Each day builds on the aggregates of the day before and there is one run at a time,
so a day that is not done holds up all that come after it; they are made up by themselves. The log ends with
BigQuery's own error.

On the first day of all, the tasks `..wait_for_yesterdays_..` wait for a run that never was: mark them as successful.

## How to re-run it

Clear what failed, and what comes after it. Clearing what has succeeded, or has failed after its query had ended,
needs care:

- `query_..clients_scalar_aggregates_v1` and `query_..clients_histogram_aggregates_v1` add the day to what their table
  holds: run twice, they count the day twice. Ask the team, it can bring the table back to its former state for seven
  days.
- A part (`.._sampled_..`) but the first appends: clear its group from the first part on. The parts of the release
  channel's `clients_histogram_aggregates_v1` start from the snapshot that the task before them makes: do not clear
  that one, it would be made of a table that already holds the day.
- Everything else replaces its table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, chain

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.commands import shell
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import BaseOperator

    Samples = tuple[int, int]
    Step = BaseOperator | TaskGroup

GENERATE = "script/glam/generate_glean_sql"
EVERY_SAMPLE = (0, 99)
WHOLE = (EVERY_SAMPLE,)
FIFTHS = ((0, 19), (20, 39), (40, 59), (60, 79), (80, 99))
# Of Windows' release channel there are only the samples 0 to 9: on desktop, they weigh more than the others.
UNEVEN = ((0, 2), (3, 5), (6, 9), (10, 49), (50, 99))
FINEST = (*((n, n) for n in range(10)), *((n, n + 9) for n in range(10, 100, 10)))


@dataclass(frozen=True)
class Channel:
    """What GLAM shows as one channel of a product.

    :param name: how bigquery-etl names it, ``org_mozilla_fenix_glam_beta``.
    :param applications: the Glean applications whose pings it is made of.
    :param parts: the samples, first and last, of its largest table: a part is one query.
    :param released: it is large, and counted in the weekly DAG.
    :param done: the task that ends it. Default: ``<name>_done``.
    """

    name: str
    applications: Sequence[str]
    parts: Sequence[Samples]
    released: bool = False
    done: str = ""


@dataclass(frozen=True)
class Daily:
    """A daily DAG."""

    dag_id: str
    tier: str
    applications: Sequence[str]
    channels: Sequence[Channel]


@dataclass(frozen=True)
class Weekly:
    """A weekly DAG, of the release channel of a daily one.

    :param waits_for: the daily DAG, and its task that ends the channel.
    :param scalar_parts: as ``Channel.parts``, of the counts of scalars.
    :param histogram_parts: the same of the counts of histograms.
    :param reserved: whether those of histograms run in GLAM's own slots.
    """

    dag_id: str
    tier: str
    start_date: datetime
    retries: int
    channel: str
    sensor: str
    waits_for: tuple[str, str]
    done: str
    scalar_parts: Sequence[Samples]
    histogram_parts: Sequence[Samples]
    reserved: bool


FENIX = "org_mozilla_fenix_glam"
FOG = "firefox_desktop_glam"
DAILY = (
    Daily(
        "glam_fenix",
        Tag.ImpactTier.tier_1,
        # The channels of Android have changed their application more than once; a channel is all that it ever was.
        applications=(
            "org_mozilla_fenix",
            "org_mozilla_fenix_nightly",
            "org_mozilla_firefox",
            "org_mozilla_firefox_beta",
            "org_mozilla_fennec_aurora",
        ),
        channels=(
            Channel(f"{FENIX}_release", ["org_mozilla_firefox"], parts=UNEVEN, released=True),
            Channel(f"{FENIX}_beta", ["org_mozilla_fenix", "org_mozilla_firefox_beta"], parts=FIFTHS),
            Channel(
                f"{FENIX}_nightly",
                ["org_mozilla_fenix_nightly", "org_mozilla_fenix", "org_mozilla_fennec_aurora"],
                parts=FIFTHS,
            ),
        ),
    ),
    Daily(
        "glam_fog",
        Tag.ImpactTier.tier_2,
        applications=("firefox_desktop",),
        channels=(
            Channel(f"{FOG}_release", ["firefox_desktop"], parts=UNEVEN, released=True, done="daily_release_done"),
            Channel(f"{FOG}_beta", ["firefox_desktop"], parts=UNEVEN),
            Channel(f"{FOG}_nightly", ["firefox_desktop"], parts=UNEVEN),
        ),
    ),
)
WEEKLY = (
    Weekly(
        "glam_fenix_release",
        Tag.ImpactTier.tier_1,
        datetime(2025, 1, 22),
        retries=2,
        channel=f"{FENIX}_release",
        sensor="wait_for_daily_fenix_release",
        waits_for=("glam_fenix", f"{FENIX}_release_done"),
        done="fenix_release_done",
        scalar_parts=WHOLE,
        histogram_parts=FIFTHS,
        reserved=True,
    ),
    Weekly(
        "glam_fog_release",
        Tag.ImpactTier.tier_2,
        datetime(2024, 12, 11),
        retries=1,
        channel=f"{FOG}_release",
        sensor="wait_for_daily_glam_fog_release",
        waits_for=("glam_fog", "daily_release_done"),
        done="fog_release_done",
        scalar_parts=FIFTHS,
        histogram_parts=FINEST,
        reserved=False,
    ),
)


def pod(task_id: str, script: str, product: str, stage: str, **env_vars: str) -> GKEPodOperator:
    """A shell line of bigquery-etl's GLAM scripts, after these have made the SQL of the product."""
    return GKEPodOperator(
        task_id=task_id,
        image=image("private-bigquery-etl"),
        **shell(f"{GENERATE} && {script}"),
        env_vars={
            "PRODUCT": product,
            "SRC_PROJECT": WAREHOUSE_PROJECT,
            "PROJECT": "moz-fx-glam-prod",
            "DATASET": "glam_etl",
            "SUBMISSION_DATE": "{{ ds }}",
            "STAGE": stage,
            **env_vars,
        },
    )


def run(kind: str, channel: str, table: str, part: Samples = EVERY_SAMPLE, *, reserved: bool = True) -> GKEPodOperator:
    """One ``view``, ``init`` (makes a table that is not there) or ``query`` of a channel, of all samples or a part."""
    name, (first, last) = f"{channel}__{table}_v1", part
    sampled = part != EVERY_SAMPLE
    write = "--replace" if first == 0 else "'--append_table --noreplace'"
    return pod(
        f"{kind}_{name}{f'_sampled_{first}_{last}' if sampled else ''}",
        "source script/glam/run_glam_sql && "
        f'run_{kind} {name} false {first} {last} "" {write} 10 {str(reserved).lower()}',
        channel,
        "incremental",
        IMPORT="true",
        USE_SAMPLE_ID=str(sampled),
    )


def query(channel: str, table: str, parts: Sequence[Samples], *, reserved: bool = True) -> Step:
    """A query, or a group of one for each part, one after the other."""
    if len(parts) == 1:
        return run("query", channel, table, *parts, reserved=reserved)
    with TaskGroup(f"{channel}__{table}_v1") as group:
        chain(*(run("query", channel, table, part, reserved=reserved) for part in parts))
    return group


def aggregate(dag_id: str, channel: Channel, days: Sequence[BaseOperator]) -> None:
    """Add a day to the aggregates of a channel's clients; count them, unless they are counted weekly."""
    name = channel.name
    done = EmptyOperator(task_id=channel.done or f"{name}_done")
    latest_versions = run("query", name, "latest_versions")
    for kind in ("histogram", "scalar"):
        chain(days, run("view", name, f"view_clients_daily_{kind}_aggregates"), latest_versions)
    parts = channel.parts if channel.released else WHOLE
    scalars = accumulate(dag_id, name, "scalar", latest_versions, parts=WHOLE, done=done)
    histograms = accumulate(dag_id, name, "histogram", latest_versions, parts=parts, done=done)
    [scalars, histograms] >> done
    if not channel.released:
        count(name, scalars, histograms, done, histogram_parts=channel.parts)


def accumulate(
    dag_id: str,
    channel: str,
    kind: str,
    latest_versions: BaseOperator,
    *,
    parts: Sequence[Samples],
    done: BaseOperator,
) -> Step:
    """Add a day to the aggregates that the day before has left. In parts, it reads those from a snapshot."""
    table = f"clients_{kind}_aggregates"
    sampled = len(parts) > 1
    aggregates = query(channel, table, parts)
    chain(
        latest_versions,
        wait_for(
            dag_id,
            done.task_id if sampled else f"query_{channel}__{table}_v1",
            delta=timedelta(days=1),
            task_id=f"{channel}_wait_for_yesterdays_{kind}_aggregates",
            fail_with_it=False,
        ),
        run("init", channel, f"{table}_new"),
        run("query", channel, f"{table}_new"),
        run("init", channel, table),
        *([run("init", channel, f"{table}_snapshot")] if sampled else []),
        aggregates,
    )
    return aggregates


def count(
    channel: str,
    scalars: Step,
    histograms: Step,
    done: BaseOperator,
    *,
    scalar_parts: Sequence[Samples] = WHOLE,
    histogram_parts: Sequence[Samples],
    reserved: bool = True,
) -> None:
    """Count the clients of a channel by what their probes say, and extract what GLAM reads."""
    probe_counts = run("view", channel, "view_probe_counts")
    chain(
        scalars,
        query(channel, "scalar_bucket_counts", scalar_parts),
        run("query", channel, "scalar_probe_counts"),
        probe_counts,
    )
    chain(
        histograms,
        query(channel, "histogram_bucket_counts", histogram_parts, reserved=reserved),
        run("query", channel, "histogram_probe_counts"),
        probe_counts,
    )
    chain(probe_counts, run("view", channel, "view_sample_counts"), run("query", channel, "extract_probe_counts"), done)
    chain(scalars, run("view", channel, "view_user_counts"), run("query", channel, "extract_user_counts"), done)


for daily in DAILY:
    with DAG(
        daily.dag_id,
        doc_md=__doc__,
        schedule="0 2 * * *",
        start_date=datetime(2020, 2, 19),
        catchup=True,
        max_active_runs=1,
        default_args=default_args(owner="data-tools", retries=1),
        tags=[daily.tier],
    ):
        pings = wait_for("copy_deduplicate", "copy_deduplicate_all", delta=timedelta(hours=1))
        days = {name: pod(f"daily_{name}", "script/glam/run_glam_sql", name, "daily") for name in daily.applications}
        pings >> list(days.values())
        for channel in daily.channels:
            aggregate(daily.dag_id, channel, [days[name] for name in channel.applications])

for weekly in WEEKLY:
    with DAG(
        weekly.dag_id,
        doc_md=__doc__,
        schedule="0 10 * * 6",
        start_date=weekly.start_date,
        max_active_runs=1,
        default_args=default_args(owner="data-tools", retries=weekly.retries),
        tags=[weekly.tier],
    ):
        # A run has the date of the Saturday before: it waits for the Friday after that.
        aggregates = wait_for(*weekly.waits_for, delta=-timedelta(days=5, hours=16), task_id=weekly.sensor)
        aggregates >> (done := EmptyOperator(task_id=weekly.done))
        count(
            weekly.channel,
            aggregates,
            aggregates,
            done,
            scalar_parts=weekly.scalar_parts,
            histogram_parts=weekly.histogram_parts,
            reserved=weekly.reserved,
        )
