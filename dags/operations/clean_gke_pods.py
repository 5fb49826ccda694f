"""Delete pods of the cluster that ended more than four days ago.

## Where the data comes from and goes

Tasks' pods that failed are kept for debugging. Kubernetes keeps so many objects only, so those that are older than four days are
deleted here. Pods that are running stay.

## When it fails

Nothing waits for it, and the next day's run deletes what this one did not. Days of failures in a row end with pods that can't be
created: then tell the owning team.

## How to re-run it

Clear the task. It deletes what is old now; the date of the run makes no difference.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.config import GKE
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "clean-gke-pods",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2019, 12, 26),
    default_args=default_args(owner="data-engineering", triaged=False),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
):
    GKEPodOperator(
        task_id="clean-gke-pods",
        image=image("gke-pod-clean"),
        arguments=[
            *("--project", GKE.project_id),
            *("--gke-cluster", GKE.cluster_name),
            *("--region", GKE.location),
            *("--retention-days", "4"),
        ],
    )
