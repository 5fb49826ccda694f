"""Airflow Variables that DAGs read, declared once with what they are for.

They are read when a task runs, in a template: ``{{ var.value.play_store_transfer_config_id }}``. One that is not declared
here fails a test. The offline platform has the values given here; production's are set in production.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """A variable of Airflow.

    :param name: as templates give it.
    :param about: what it is for.
    :param development: its value on the offline platform. Default: ``development-<name>``. None: unset there, for a variable
        that a template reads with a default, ``var.value.get(<name>, <default>)``.
    """

    name: str
    about: str
    development: str | None = ""


_ALL = (
    Variable("ads_attr_job_config_bucket", "Bucket of the job configuration of ad attribution."),
    Variable("ads_attr_job_project_id", "Project of the job configuration of ad attribution."),
    Variable("ads_incr_job_config_bucket", "Bucket of the job configuration of ad incrementality."),
    Variable("ads_incr_job_project_id", "Project of the job configuration of ad incrementality."),
    Variable("bugzilla_probe_expiry_bot_api_key", "Bugzilla API key of the bot that files bugs about expiring probes."),
    Variable("dap_auth_token", "Bearer token of the DAP collector."),
    Variable("dap_hpke_private_key", "Private key of the DAP collector."),
    Variable("dap_ppa_dev_ad_config_url", "Where the PPA test collector finds its ads.", "http://localhost/ads.json"),
    Variable("dap_ppa_dev_auth_token", "Bearer token of the PPA test collector."),
    Variable("dap_ppa_dev_hpke_private_key", "Private key of the PPA test collector."),
    Variable("dap_ppa_dev_task_config_url", "Where the PPA test collector finds its tasks.", "http://localhost/t.json"),
    Variable("dap_ppa_prod_ad_config_url", "Where the PPA collector finds its ads.", "http://localhost/ads.json"),
    Variable("dap_ppa_prod_task_config_url", "Where the PPA collector finds its tasks.", "http://localhost/t.json"),
    Variable("dap_task_config_url", "Where the DAP collector finds its tasks.", "http://localhost/tasks.json"),
    Variable("dbt_account_id", "Account of dbt Cloud, a number.", "1"),
    Variable("fivetran_netsuite_connector_id", "Fivetran connector of NetSuite.", "sample_netsuite"),
    Variable("fivetran_sample_netsuite_connector_id", "Fivetran connector of the sample DAG.", "sample_netsuite"),
    Variable("glean_dictionary_netlify_build_webhook_id", "Path of the webhook that builds the Glean Dictionary."),
    Variable("jetstream_cluster_cert", "Certificate of the cluster that analyses experiments."),
    Variable("jetstream_cluster_ip", "Address of the cluster that analyses experiments.", "192.0.2.1"),
    Variable(
        "lookml_generator_release_str", "Release of the LookML generator that production's Looker gets.", "v0.0.0"
    ),
    Variable("play_store_transfer_config_id", "BigQuery transfer of the Google Play store."),
    Variable("shredder_all_parallelism", "How many deletions the task all runs at once. Default 3.", None),
    Variable("shredder_desktop_metrics_parallelism", "The same of desktop-metrics. Default 2.", None),
    Variable("shredder_desktop_metrics_sampling_batch_size", "Samples a query of desktop-metrics. Default 4.", None),
    Variable("shredder_desktop_metrics_sampling_parallelism", "Queries a table of desktop-metrics. Default 2.", None),
    Variable("shredder_w_sampling_parallelism", "How many deletions with-sampling runs at once. Default 1.", None),
    Variable("shredder_w_sampling_sampling_batch_size", "Samples a query of with-sampling. Default 1.", None),
    Variable("shredder_w_sampling_sampling_parallelism", "Queries a table of with-sampling. Default 2.", None),
    # DAGs that bigquery-etl generates
    Variable("ADJUST_API_TOKEN", "Token of Adjust (mobile attribution)."),
    Variable("ADJUST_APP_TOKEN_LIST", "Apps to ask Adjust about."),
    Variable("fivetran_airflow_metadata_import_connector_id", "Fivetran connector of Airflow's own metadata."),
    Variable("fivetran_log_prod_connector_id", "Fivetran connector of Fivetran's own log."),
    Variable("fivetran_stripe_connector_id", "Fivetran connector of Stripe."),
    Variable("fivetran_stripe_nonprod_connector_id", "Fivetran connector of Stripe's test mode."),
    Variable("stripe_api_key", "API key of Stripe."),
    Variable("surveygizmo_api_secret", "API secret of Alchemer, formerly SurveyGizmo."),
    Variable("surveygizmo_api_token", "API token of Alchemer, formerly SurveyGizmo."),
)

VARIABLES: dict[str, Variable] = {variable.name: variable for variable in _ALL}
"""Every variable, by its name."""


def development_values() -> dict[str, str]:
    """The variables of the offline platform: name to value."""
    return {
        variable.name: variable.development or f"development-{variable.name}"
        for variable in _ALL
        if variable.development is not None
    }
