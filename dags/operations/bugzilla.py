"""Tag new bugs of the data platform in Bugzilla, so that they come to Jira.

## Where the data comes from and goes

Unresolved bugs of the product Data Platform and Tools, component General, whose whiteboard is empty get the whiteboard
`[dataplatform]`; at most 500 a run, the newest first. Bugzilla's bridge to Jira goes by that tag.

## When it fails

The log names the bugs that could not be changed, and why; the others are done. A refused key (401) means that the Variable
`bugzilla_probe_expiry_bot_api_key` holds an expired one. Nothing waits for it: it can wait for the next working day.

## How to re-run it

Clear the task. It looks for bugs that have no whiteboard now, so a day that was missed is made up by the next.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.bugzilla import BugzillaTagBugsOperator
from utils.defaults import default_args
from utils.tags import Tag

with DAG(
    "bugzilla",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2025, 8, 3),
    default_args=default_args(owner="data-engineering", retries=1),
    tags=[Tag.ImpactTier.tier_3],
):
    BugzillaTagBugsOperator(
        task_id="tag_bugs_with_dataplatform",
        product="Data Platform and Tools",
        component="General",
        whiteboard="[dataplatform]",
        api_key="{{ var.value.bugzilla_probe_expiry_bot_api_key }}",
    )
