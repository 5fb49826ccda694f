"""Train the model that finds malicious add-ons, once a week.

## Where the data comes from and goes

What addons.mozilla.org knows of add-ons goes to `datasets` of the bucket `mad-resources-training`; the model that is
trained of it is published in the project `mad-model-training`, and how it does on new data in the bucket
`mad-reports`. The program, mad-server, is not public.

## When it fails

As long as the newest run is green, older ones need nothing: `mad_server_pull` takes everything since its last
success. The model of last week stays in use. A refused login at addons.mozilla.org means that its key was renewed:
the secret must follow.

## How to re-run it

Clear the task that failed; what comes after it follows. A model that is published anew replaces the newest one.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

TRAINING = {
    "GCS_BUCKET": "mad-resources-training",
    "GCS_ROOT_TRAINING": "datasets",
    "CLOUD_SERVICE": "GCS",
    "CUSTOMS_TRAINING_ALLOW_OVERWRITE": "True",
}
PUBLISHING = {"GCLOUD_PROJECT": "mad-model-training", "GCS_REPORT_BUCKET": "mad-reports"}

with DAG(
    "mad_server",
    doc_md=__doc__,
    schedule="@weekly",
    start_date=datetime(2021, 4, 15),
    default_args=default_args(owner="data-science", retries=1),
    tags=[Tag.ImpactTier.tier_3],
):
    mad_server_pull = GKEPodOperator(
        task_id="mad_server_pull",
        image=image("mad-server"),
        cmds=["/bin/bash"],
        arguments=["bin/airflow-pull"],
        env_vars=TRAINING,
        secrets=pod_secrets("mad_server", "amo_cred_issuer", "amo_cred_secret"),
        startup_timeout_seconds=500,
    )
    train_model, evaluate_new_data = (
        GKEPodOperator(
            task_id=step,
            image=image("mad-server"),
            cmds=["/bin/bash"],
            arguments=[f"bin/{step}", "--publish", "--publish-as-latest", "./working"],
            env_vars=TRAINING | PUBLISHING,
            startup_timeout_seconds=500,
        )
        for step in ("train_model", "evaluate_new_data")
    )
    mad_server_pull >> train_model >> evaluate_new_data
