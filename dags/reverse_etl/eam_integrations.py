"""Keep the company's own applications in step with each other: five integrations, one DAG each.

## Where the data comes from and goes

| DAG | from | to |
|---|---|---|
| `eam-gmail-panopto-integration` | a group of Google Workspace | a group of Panopto |
| `eam-slack-channels-integration` | Slack's list of channels | channels that nobody uses are archived |
| `eam-workday-docusign-integration` | Workday | users of DocuSign |
| `eam-workday-everfi-integration` | Workday | users of Everfi's trainings |
| `eam-workday-netsuite-integration` | Workday | employees in NetSuite |

The programs are in [`jobs/eam-integrations`](https://github.com/mozilla/docker-etl/tree/main/jobs/eam-integrations) of docker-etl.

## When it fails

A ticket is opened in Jira's project ASP, with a link to the log: the team enterprise-applications works from there. There is
nothing for others to do. A password that expired shows as a refused login.

## How to re-run it

Clear the task. Each run brings the target to the state that the source has now, so a run that was missed needs no making up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from operators.jira import JiraTicketNotifier
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.secret import Secret


@dataclass(frozen=True)
class Integration:
    """One integration. The program is ``scripts/<script>.py``."""

    dag_id: str
    task_id: str
    script: str
    schedule: str
    secrets: list[Secret]
    tags: list[str] = field(default_factory=list)


INTEGRATIONS = (
    Integration(
        "eam-gmail-panopto-integration",
        "gmail_panopto_integration",
        "gmail_panopto_integration",
        "0 6 * * *",
        pod_secrets(
            None,
            "gmail_panopto_panopto_user",
            "gmail_panopto_panopto_pass",
            "gmail_panopto_gmail_project_id",
            "gmail_panopto_gmail_private_key_id",
            "gmail_panopto_gmail_private_key",
            "gmail_panopto_gmail_client_email",
            "gmail_panopto_gmail_client_id",
            "gmail_panopto_gmail_client_x509_cert_url",
            "gmail_panopto_gmail_group_name",
            "gmail_panopto_panopto_group_name",
        ),
    ),
    Integration(
        "eam-slack-channels-integration",
        "eam_slack_channels",
        "slack_channels_integration",
        "0 6 * * *",
        pod_secrets(None, "SLACK_CHANNEL_TOKEN", "slack_service_account"),
    ),
    Integration(
        "eam-workday-docusign-integration",
        "eam_workday_docusign",
        "workday_docusign_integration",
        "0 7 * * 1-5",
        pod_secrets(None, "docusign_jwt", "DOCUSIGN_INTEG_WORKDAY_USERNAME", "DOCUSIGN_INTEG_WORKDAY_PASSWORD"),
    ),
    Integration(
        "eam-workday-everfi-integration",
        "eam_workday_everfi",
        "workday_everfi_integration",
        "0 7 * * 1-5",
        pod_secrets(
            None,
            "EVERFI_INTEG_WORKDAY_USERNAME",
            "EVERFI_INTEG_WORKDAY_PASSWORD",
            "EVERFI_USERNAME",
            "EVERFI_PASSWORD",
        ),
    ),
    Integration(
        "eam-workday-netsuite-integration",
        "eam_workday_netsuite",
        "workday_netsuite_integration",
        "0 8 * * 1-5",
        pod_secrets(
            None,
            "NETSUITE_INTEG_WORKDAY_USERNAME",
            "NETSUITE_INTEG_WORKDAY_PASSWORD",
            "NETSUITE_INTEG_WORKDAY_LISTING_OF_WORKERS_LINK",
            "NETSUITE_INTEG_WORKDAY_INTERNATIONAL_TRANSFER_LINK",
            "NETSUITE_INTEG_NETSUITE_CONSUMER_KEY",
            "NETSUITE_INTEG_NETSUITE_CONSUMER_SECRET",
            "NETSUITE_INTEG_NETSUITE_TOKEN_ID",
            "NETSUITE_INTEG_NETSUITE_TOKEN_SECRET",
            "NETSUITE_INTEG_NETSUITE_TOKEN_OAUTH_REALM",
            "NETSUITE_INTEG_NETSUITE_HOST",
        ),
        tags=[Tag.Repo.airflow, Tag.Triage.record_only],
    ),
)

for integration in INTEGRATIONS:
    with DAG(
        integration.dag_id,
        doc_md=__doc__,
        schedule=integration.schedule,
        start_date=datetime(2024, 1, 1),
        default_args=default_args(
            owner="enterprise-applications",
            retries=3,
            retry_delay=timedelta(minutes=5),
            on_failure_callback=JiraTicketNotifier(project="ASP", issue_type="10020"),
        ),
        tags=[Tag.ImpactTier.tier_3, *integration.tags],
    ):
        GKEPodOperator(
            task_id=integration.task_id,
            image=image("eam-integrations"),
            arguments=["python", f"scripts/{integration.script}.py", "--level", "info"],
            secrets=integration.secrets,
        )
