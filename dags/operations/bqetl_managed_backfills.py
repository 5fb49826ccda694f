"""Carry out the backfills that are registered in bigquery-etl: stage their rows, and put them in place once they are approved.

## Where the data comes from and goes

A backfill is an entry in the file `backfill.yaml` beside a table's query. Every hour:

| DAG | takes entries with the status | and |
|---|---|---|
| `bqetl_backfill_initiate` | Initiate | writes the rows to a staging table, which is kept 30 days |
| `bqetl_backfill_complete` | Complete | copies the staged rows into the table; what it held is kept for 30 days, as the backup |

Staging tables and backups are in `moz-fx-data-shared-prod.backfills_staging_derived`. Before and after, the watchers of the entry are
told in Slack. Between the two somebody validates the rows and sets the status to Complete, within the 30 days.

## When it fails

A post in Slack names the table, and the staging table or backup to delete before it can be tried again: that is for the
watchers of the entry. `detect_backfills` that fails hour by hour holds up all backfills; its log names the entry it can't read.

## How to re-run it

Delete the table that the post names; the next hour does it again. `process_backfill` is not retried, as it refuses to write into a
staging table that exists. Other entries are not held up by one that failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, task, task_group

from operators.gcp_container_operator import GKEPodOperator
from operators.slack import slack_notifier, slack_post
from utils.commands import PROJECT, QUALIFIED_TABLE, TABLE, checked, late, quoted, shell
from utils.defaults import default_args
from utils.images import image
from utils.params import number_param, text_param
from utils.tags import Tag

if TYPE_CHECKING:
    from airflow.sdk import Param

HELP = "<#C01E8GDG80N>"
WATCHER = r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+"


@dataclass(frozen=True)
class Stage:
    """One of the two DAGs. The texts of its posts name the ``table`` and what is ``kept``, a table too.

    :param keeps: which field of an entry names what is kept.
    :param pod: parameters of the pod.
    :param params: parameters of the DAG; ``parallelism`` becomes a flag of the command.
    """

    verb: str
    keeps: str
    started: str
    ended: str
    failed: str
    pod: dict[str, str] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)


STAGES = (
    Stage(
        "initiate",
        keeps="staging_table",
        started=":hourglass_flowing_sand: The backfill of `{table}` has started. There will be a post when it has ended.",
        ended=":white_check_mark: The backfill of `{table}` is staged at `{kept}`. Validate the rows, then set the status of "
        "the entry to Complete in bigquery-etl. The staging table expires in 30 days.",
        failed=f":x: The backfill of `{{table}}` failed. To have it tried again, delete `{{kept}}`. Ask in {HELP} for help.",
        pod={"resources": "medium"},
        params={"parallelism": number_param("How many queries at once.", default=6, minimum=1, maximum=50)},
    ),
    Stage(
        "complete",
        keeps="backup_table",
        started=":hourglass_flowing_sand: The staged rows of `{table}` are being put in place. What it holds now is kept for 30 "
        "days. There will be a post when it is done.",
        ended=":white_check_mark: The backfill of `{table}` is complete: its rows are in place.",
        failed=f":x: The rows of `{{table}}` could not be put in place. To have it tried again, delete `{{kept}}`. "
        f"Ask in {HELP} for help.",
    ),
)


def post(entry: dict[str, Any], text: str, keeps: str) -> str:
    """A post about an entry that calls its watchers."""
    watchers = [checked(watcher, WATCHER, "watcher").partition("@")[0] for watcher in entry["watchers"]]
    named = text.format(
        table=checked(entry["qualified_table_name"], QUALIFIED_TABLE, "qualified_table_name"),
        kept=checked(entry[keeps], QUALIFIED_TABLE, keeps),
    )
    return " ".join([*(f"<@{watcher}>" for watcher in watchers), named])


def command(entry: dict[str, Any], verb: str, params: dict[str, Any]) -> list[str]:
    """The shell line that carries an entry out, in the entry's own project."""
    table = quoted(entry["qualified_table_name"], rf"{PROJECT}\.{TABLE}", "qualified_table_name")
    line = f"script/bqetl backfill {verb} {table} --copy-table-permissions --project-id={table.partition('.')[0]}"
    return [line + (f" --parallelism={int(params['parallelism'])}" if "parallelism" in params else "")]


for stage in STAGES:
    with DAG(
        f"bqetl_backfill_{stage.verb}",
        doc_md=__doc__,
        schedule="@hourly",
        start_date=datetime(2024, 1, 1),
        max_active_runs=1,
        default_args=default_args(owner="data-engineering", retries=1, retry_delay=timedelta(minutes=5)),
        tags=[Tag.ImpactTier.tier_3],
        params={
            "project_id": text_param("Look at one project only. None: at all.", pattern=PROJECT, optional=True),
            **stage.params,
        },
    ):
        detect_backfills = GKEPodOperator(
            task_id="detect_backfills",
            image=image("private-bigquery-etl"),
            **shell(
                f"script/bqetl backfill scheduled --status={stage.verb.title()} --json_path=/airflow/xcom/return.json "
                "--ignore-old-entries",
                program="sh",
                flags={"--project-id": ("project_id", PROJECT)},
            ),
            do_xcom_push=True,
        )

        @task_group(group_id=f"{stage.verb}_backfill")
        def carry_out(backfill: Any, stage: Stage) -> None:
            """What is done for each entry."""

            def prepared(task_id: str, text: str) -> Any:
                return task(task_id=task_id)(post)(backfill, text, stage.keeps)

            failure = prepared("prepare_slack_failure_message", stage.failed).operator.task_id
            process = GKEPodOperator(
                task_id="process_backfill",
                image=image("private-bigquery-etl"),
                cmds=late("sh", "-c"),
                arguments=task(task_id="prepare_pod_parameters")(command)(backfill, stage.verb),
                retries=0,
                on_failure_callback=slack_notifier(
                    f"{{{{ ti.xcom_pull(task_ids='{failure}', map_indexes=ti.map_index) }}}} <{{{{ ti.log_url }}}}|Log>"
                ),
                **stage.pod,
            )
            started = prepared(f"prepare_slack_{stage.verb}_message", stage.started)
            ended = prepared("prepare_slack_processing_complete_parameters", stage.ended)
            (
                slack_post("slack_notify_initate", started)
                >> process
                >> slack_post("slack_notify_processing_complete", ended)
            )

        carry_out.partial(stage=stage).expand(backfill=detect_backfills.output)
