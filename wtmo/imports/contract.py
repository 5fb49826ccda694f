"""What generated files may say: the closed world that the translator knows, as tables.

The names and keywords are those of bigquery-etl's generator, every branch of its templates. What is not here is an
error. Tests compare the tables with Airflow 3.3 and with the modules of this repository: a keyword here is one that the
real class takes, a moved import is one that Airflow itself moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

_SDK = "airflow.sdk"
_STANDARD = "airflow.providers.standard"


def _moved(
    prefix: str, target: str, modules: dict[str, str], *, same_module: bool = True
) -> dict[tuple[str, str], str]:
    return {
        (f"{prefix}.{module}", name): f"{target}.{module}.{name}" if same_module else f"{target}.{name}"
        for module, names in modules.items()
        for name in names.split()
    }


MOVED_BY_AIRFLOW: dict[tuple[str, str], str] = {
    ("airflow", "AirflowException"): f"{_SDK}.exceptions.AirflowException",
    ("airflow", "Asset"): f"{_SDK}.Asset",
    ("airflow", "DAG"): f"{_SDK}.DAG",
    ("airflow", "Dataset"): f"{_SDK}.Asset",
    ("airflow", "XComArg"): f"{_SDK}.XComArg",
    ("airflow.models", "BaseOperator"): f"{_SDK}.BaseOperator",
    ("airflow.models", "DAG"): f"{_SDK}.DAG",
    ("airflow.models", "Param"): f"{_SDK}.Param",
    ("airflow.models.dag", "DAG"): f"{_SDK}.DAG",
    ("airflow.models.operator", "BaseOperator"): f"{_SDK}.BaseOperator",
    ("airflow.models.param", "ParamsDict"): f"{_SDK}.ParamsDict",
    ("airflow.io.path", "ObjectStoragePath"): f"{_SDK}.ObjectStoragePath",
    ("airflow.sensors.base", "poke_mode_only"): f"{_SDK}.bases.sensor.poke_mode_only",
    **_moved(
        "airflow.operators",
        f"{_STANDARD}.operators",
        {
            "bash": "BashOperator",
            "datetime": "BranchDateTimeOperator",
            "empty": "EmptyOperator",
            "latest_only": "LatestOnlyOperator",
            "python": "BranchExternalPythonOperator BranchPythonOperator BranchPythonVirtualenvOperator "
            "ExternalPythonOperator PythonOperator PythonVirtualenvOperator ShortCircuitOperator",
            "smooth": "SmoothOperator",
            "trigger_dagrun": "TriggerDagRunOperator",
            "weekday": "BranchDayOfWeekOperator",
        },
    ),
    ("airflow.operators.email", "EmailOperator"): "airflow.providers.smtp.operators.smtp.EmailOperator",
    ("airflow.operators.generic_transfer", "GenericTransfer"): (
        "airflow.providers.common.sql.operators.generic_transfer.GenericTransfer"
    ),
    **_moved(
        "airflow.sensors",
        f"{_STANDARD}.sensors",
        {
            "bash": "BashSensor",
            "date_time": "DateTimeSensor DateTimeSensorAsync",
            "external_task": "ExternalDagLink ExternalTaskMarker ExternalTaskSensor",
            "filesystem": "FileSensor",
            "python": "PythonSensor",
            "time_delta": "TimeDeltaSensor TimeDeltaSensorAsync",
            "weekday": "DayOfWeekSensor",
        },
    ),
    ("airflow.sensors.time_sensor", "TimeSensor"): f"{_STANDARD}.sensors.time.TimeSensor",
    ("airflow.sensors.time_sensor", "TimeSensorAsync"): f"{_STANDARD}.sensors.time.TimeSensorAsync",
    **_moved(
        "airflow.hooks",
        f"{_STANDARD}.hooks",
        {"filesystem": "FSHook", "package_index": "PackageIndexHook", "subprocess": "SubprocessHook"},
    ),
    **_moved(
        "airflow.triggers",
        f"{_STANDARD}.triggers",
        {
            "external_task": "DagStateTrigger WorkflowTrigger",
            "file": "FileTrigger",
            "temporal": "DateTimeTrigger TimeDeltaTrigger",
        },
    ),
    **_moved(
        "airflow",
        _SDK,
        {
            "decorators": "dag setup task task_group teardown",
            "hooks.base": "BaseHook",
            "models.baseoperator": "BaseOperator chain cross_downstream chain_linear",
            "models.baseoperatorlink": "BaseOperatorLink",
            "models.param": "Param",
            "models.skipmixin": "SkipMixin",
            "notifications.basenotifier": "BaseNotifier",
            "operators.branch": "BaseBranchOperator BranchMixIn",
            "operators.python": "get_current_context",
            "sensors.base": "BaseSensorOperator PokeReturnValue",
            "utils.task_group": "TaskGroup",
        },
        same_module=False,
    ),
}
"""Imports that still work in Airflow 3.3 by a shim, most with a warning: (module, name) to where the name is."""

MOVED_BY_US: dict[tuple[str, str], str] = {
    # Paths of Airflow 1.10 and 2 that have no shim any more.
    ("airflow.contrib.kubernetes.secret", "Secret"): "airflow.providers.cncf.kubernetes.secret.Secret",
    ("airflow.datasets", "Dataset"): f"{_SDK}.Asset",
    ("airflow.kubernetes.secret", "Secret"): "airflow.providers.cncf.kubernetes.secret.Secret",
    ("airflow.operators.dummy", "DummyOperator"): f"{_STANDARD}.operators.empty.EmptyOperator",
    ("airflow.operators.dummy_operator", "DummyOperator"): f"{_STANDARD}.operators.empty.EmptyOperator",
    ("airflow.operators.sensors", "ExternalTaskSensor"): f"{_STANDARD}.sensors.external_task.ExternalTaskSensor",
    (
        "airflow.sensors.external_task_sensor",
        "ExternalTaskMarker",
    ): f"{_STANDARD}.sensors.external_task.ExternalTaskMarker",
    (
        "airflow.sensors.external_task_sensor",
        "ExternalTaskSensor",
    ): f"{_STANDARD}.sensors.external_task.ExternalTaskSensor",
    # Two enumerations with the same values: Airflow's shims lead to the core's, DAG files take the task SDK's.
    ("airflow.utils.trigger_rule", "TriggerRule"): f"{_SDK}.TriggerRule",
    ("airflow.utils.weight_rule", "WeightRule"): f"{_SDK}.WeightRule",
    # Airflow's core keeps State; DAG files import from the task SDK only. Members have the same values.
    ("airflow.utils.state", "State"): f"{_SDK}.TaskInstanceState",
    ("airflow.utils.state", "TaskInstanceState"): f"{_SDK}.TaskInstanceState",
    ("airflow.utils.state", "DagRunState"): f"{_SDK}.DagRunState",
    # Faults of the provider's operator are corrected in ours (mozilla/telemetry-airflow#1932: why deferrable=False).
    ("fivetran_provider_async.operators", "FivetranOperator"): "operators.fivetran.FivetranOperator",
}
"""Imports that this project moves: no shim, or another class on purpose."""

_SUBDAG = (
    "Airflow 3 has no sub-DAGs. Write the inner tasks in a TaskGroup of the same name in the source: their ids stay."
)
_CLOCK = (
    "It reads the clock while the file is parsed, and Airflow 3 has it no more. Give a fixed start_date in the source."
)
_CALLBACKS = (
    "It clears tasks in the metadata database, which a task of Airflow 3 can't reach. Leave it out of the source."
)
_OLD_FIVETRAN = (
    "This package ended in 2024. Import FivetranOperator of fivetran_provider_async.operators in the source."
)
REMOVED: dict[str, str] = {
    "airflow.operators.subdag": _SUBDAG,
    "airflow.operators.subdag_operator": _SUBDAG,
    "airflow.utils.dates": _CLOCK,
    "fivetran_provider.operators.fivetran": _OLD_FIVETRAN,
    "fivetran_provider.sensors.fivetran": _OLD_FIVETRAN,
    "operators.backport.fivetran.operator": _OLD_FIVETRAN,
    "operators.backport.fivetran.sensor": _OLD_FIVETRAN,
    "operators.task_sensor": "The generator has not used it since 2022. Use ExternalTaskSensor with allowed_states=ALLOWED_STATES, "
    "failed_states=FAILED_STATES in the source.",
    "utils.callbacks": _CALLBACKS,
}
"""Modules that are gone for good, and what to do instead."""

RETIRED: dict[str, str] = {
    "utils.gcp.gke_command": "The generator has not used it since 2024. Use operators.gcp_container_operator.GKEPodOperator in the source.",
}
"""Names that old files import, most without a use. An import that is not used is left out; a use is an error."""


def _words(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in text.split())


OPERATOR_KEYWORDS = _words(
    "task_id owner email email_on_retry email_on_failure retries retry_delay retry_exponential_backoff max_retry_delay",
    "start_date end_date depends_on_past ignore_first_depends_on_past wait_for_past_depends_before_skipping",
    "wait_for_downstream dag params priority_weight weight_rule queue pool pool_slots execution_timeout trigger_rule",
    "max_active_tis_per_dag max_active_tis_per_dagrun do_xcom_push task_group doc doc_md doc_json doc_yaml doc_rst",
    "task_display_name",
)
"""Of every operator: those of ``BaseOperator`` that mean in 3.3 what they meant in 2.10 and whose value can be data."""

_SENSOR_KEYWORDS = _words("poke_interval timeout soft_fail mode exponential_backoff max_wait silent_fail never_fail")
_POD_KEYWORDS = _words(
    "container_resources node_selector secrets startup_timeout_seconds env_vars cmds labels annotations image_pull_policy",
    "get_logs on_finish_action durable deferrable tolerations",
)
_BQETL_POD_KEYWORDS = _words("docker_image gcp_conn_id gke_project_id gke_location gke_cluster_name gke_namespace")
# A check gets the pod cluster under the operator's own names.
_CLUSTER_KEYWORDS = _words("location cluster_name namespace")

Kind = Literal["dag", "group", "task", "value"]


@dataclass(frozen=True)
class Call:
    """What a call of generated files may look like, under the names of Airflow 3.3."""

    kind: Kind
    keywords: frozenset[str]
    positional: int = 0
    """How many arguments may be given without a name."""
    renames: dict[str, str] = field(default_factory=dict)
    """Keywords of Airflow 2 to those of Airflow 3. Which rule that is: see :data:`KEYWORD_RULES`."""


TASK_RENAMES = {"task_concurrency": "max_active_tis_per_dag"}
"""What every task calls otherwise, also in ``default_args``."""


def _task(*keywords: str | frozenset[str], renames: dict[str, str] | None = None) -> Call:
    own = frozenset[str]().union(*(_words(k) if isinstance(k, str) else k for k in keywords))
    return Call("task", OPERATOR_KEYWORDS | own, renames=TASK_RENAMES | (renames or {}))


def _pod(*keywords: str | frozenset[str]) -> Call:
    renames = {"reattach_on_restart": "durable", "is_delete_operator_pod": "on_finish_action"}
    return _task(*keywords, _POD_KEYWORDS, renames=renames)


_SENSORS_OF_GOOGLE = "airflow.providers.google.cloud.sensors.bigquery"
_SENSOR = (_SENSOR_KEYWORDS, "project_id dataset_id table_id gcp_conn_id impersonation_chain deferrable")
_POLLING = {"polling_interval": "poke_interval"}

CALLS: dict[str, Call] = {
    f"{_SDK}.DAG": Call(
        "dag",
        _words(
            "dag_id description schedule start_date end_date default_args max_active_tasks max_active_runs",
            "max_consecutive_failed_dag_runs dagrun_timeout catchup doc_md params access_control is_paused_upon_creation",
            "render_template_as_native_obj tags owner_links auto_register fail_fast dag_display_name",
        ),
        positional=1,
        renames={
            "schedule_interval": "schedule",
            "timetable": "schedule",
            "concurrency": "max_active_tasks",
            "fail_stop": "fail_fast",
        },
    ),
    f"{_SDK}.TaskGroup": Call(
        "group",
        _words(
            "group_id prefix_group_id parent_group dag tooltip ui_color ui_fgcolor add_suffix_on_collision default_args"
        ),
        positional=1,
    ),
    f"{_STANDARD}.operators.empty.EmptyOperator": _task(),
    f"{_STANDARD}.sensors.external_task.ExternalTaskSensor": _task(
        _SENSOR_KEYWORDS,
        "external_dag_id external_task_id external_task_ids external_task_group_id allowed_states skipped_states",
        "failed_states execution_delta check_existence deferrable",
        renames={"poll_interval": "poke_interval"},
    ),
    f"{_STANDARD}.sensors.external_task.ExternalTaskMarker": _task(
        "external_dag_id external_task_id logical_date recursion_depth", renames={"execution_date": "logical_date"}
    ),
    f"{_SENSORS_OF_GOOGLE}.BigQueryTableExistenceSensor": _task(*_SENSOR, renames=_POLLING),
    f"{_SENSORS_OF_GOOGLE}.BigQueryTablePartitionExistenceSensor": _task(*_SENSOR, "partition_id", renames=_POLLING),
    "operators.fivetran.FivetranOperator": _task(
        "connector_id fivetran_conn_id deferrable wait_for_completion schedule_type poll_frequency",
        "fivetran_retry_limit fivetran_retry_delay reschedule_wait_time",
    ),
    "operators.gcp_container_operator.GKEPodOperator": _pod(
        _CLUSTER_KEYWORDS, "name image arguments gcp_conn_id project_id"
    ),
    "utils.gcp.bigquery_etl_query": _pod(
        _BQETL_POD_KEYWORDS,
        "destination_table dataset_id project_id date_partition_parameter table_partition_template parameters arguments",
        "sql_file_path multipart",
    ),
    "utils.gcp.bigquery_dq_check": _pod(
        _BQETL_POD_KEYWORDS,
        _CLUSTER_KEYWORDS,
        "source_table dataset_id project_id is_dq_check_fail parameters arguments",
    ),
    "utils.gcp.bigquery_bigeye_check": _pod(_BQETL_POD_KEYWORDS, "table_id warehouse_id project_id"),
    "airflow.providers.cncf.kubernetes.secret.Secret": Call(
        "value", _words("deploy_type deploy_target secret key items"), positional=5
    ),
    "kubernetes.client.models.V1ResourceRequirements": Call("value", _words("requests limits")),
    "kubernetes.client.models.V1Toleration": Call("value", _words("key operator value effect toleration_seconds")),
    "datetime.datetime": Call("value", _words("year month day hour minute second microsecond tzinfo"), positional=8),
    "datetime.date": Call("value", _words("year month day"), positional=3),
    "datetime.timedelta": Call(
        "value", _words("days seconds microseconds milliseconds minutes hours weeks"), positional=7
    ),
    f"{_SDK}.CronDataIntervalTimetable": Call("value", _words("expression timezone"), 2, {"cron": "expression"}),
    f"{_SDK}.DeltaDataIntervalTimetable": Call("value", _words("delta"), 1),
    f"{_SDK}.CronTriggerTimetable": Call("value", _words("expression timezone interval"), 1, {"cron": "expression"}),
}
"""Every call that a generated file may make, by the name that it has in Airflow 3.3."""

for _name in ("CronDataIntervalTimetable", "DeltaDataIntervalTimetable"):
    MOVED_BY_US["airflow.timetables.interval", _name] = f"{_SDK}.{_name}"
MOVED_BY_US["airflow.timetables.trigger", "CronTriggerTimetable"] = f"{_SDK}.CronTriggerTimetable"

VALUES: dict[str, frozenset[str] | None] = {
    "utils.constants.ALLOWED_STATES": frozenset(),
    "utils.constants.FAILED_STATES": frozenset(),
    "utils.tags.Tag": frozenset(
        f"{family}.{member}"
        for family, members in {
            "ImpactTier": ("tier_1", "tier_2", "tier_3"),
            "Triage": ("no_triage", "record_only", "confidential"),
            "Repo": ("airflow", "bqetl", "private_bqetl"),
        }.items()
        for member in members
    ),
    f"{_SDK}.TaskInstanceState": _words(
        "DEFERRED FAILED QUEUED REMOVED RESTARTING RUNNING SCHEDULED SKIPPED SUCCESS UPSTREAM_FAILED UP_FOR_RESCHEDULE UP_FOR_RETRY"
    ),
    f"{_SDK}.DagRunState": _words("FAILED QUEUED RUNNING SUCCESS"),
    f"{_SDK}.TriggerRule": _words(
        "ALL_DONE ALL_DONE_SETUP_SUCCESS ALL_FAILED ALL_SKIPPED ALL_SUCCESS ALWAYS NONE_FAILED NONE_FAILED_MIN_ONE_SUCCESS",
        "NONE_SKIPPED ONE_DONE ONE_FAILED ONE_SUCCESS",
    ),
    f"{_SDK}.WeightRule": _words("ABSOLUTE DOWNSTREAM UPSTREAM"),
    "datetime.timezone": frozenset({"utc"}),
}
"""Imported names that are no calls, and the attributes that a file may read of them."""

MODULES = frozenset({"datetime", "kubernetes.client.models"})
"""Modules that a file may import whole."""

DROPPED: dict[str, dict[str, str]] = {
    "dag": {
        "default_view": "the UI of Airflow 3 has no such setting",
        "full_filepath": "Airflow 2 ignored it",
        "orientation": "the UI of Airflow 3 has no such setting",
    },
    "task": {"provide_context": "since Airflow 2 every callable gets the context"},
}
"""Keywords that may be left out without a change in what runs."""

REFUSED_KEYWORDS: dict[str, str] = {
    "sla": "Airflow 3 has no SLAs, so nobody would be told. Leave it out of the source, or ask for a deadline alert.",
    "sla_miss_callback": "Airflow 3 has no SLAs, so nobody would be told. Leave it out of the source.",
    "execution_date_fn": "A function can't be checked. Give execution_delta in the source.",
    **dict.fromkeys(
        (
            "on_execute_callback",
            "on_failure_callback",
            "on_retry_callback",
            "on_skipped_callback",
            "on_success_callback",
            "post_execute",
            "pre_execute",
            "user_defined_filters",
            "user_defined_macros",
        ),
        "Generated files hold data, no functions. Leave it out of the source.",
    ),
}
"""Keywords of Airflow 2.10 that are known and that no rule can keep."""

DEFAULT_ARGS_KEYS = OPERATOR_KEYWORDS - {"task_id", "task_group", "dag"} | _words(
    "gcp_conn_id mode poke_interval timeout"
)
"""Keys of ``default_args``. Airflow accepts any: a misspelt one does nothing, without a word."""

TRIGGER_RULES_RENAMED = {"dummy": "always", "none_failed_or_skipped": "none_failed_min_one_success"}
TRIGGER_RULES = frozenset(name.lower() for name in VALUES[f"{_SDK}.TriggerRule"] or ())
SCHEDULE_PRESETS = frozenset(
    f"@{name}" for name in ("continuous", "daily", "hourly", "monthly", "once", "quarterly", "weekly", "yearly")
)

TEXT_KEYWORDS = _words("doc doc_md doc_json doc_yaml doc_rst description tooltip task_display_name dag_display_name")
"""Keywords whose value is prose: braces in it are no template."""

PAST_KEYWORDS = frozenset({"depends_on_past", "wait_for_downstream"})
"""Keywords that make a task wait for its run before; the second one switches the first one on."""

KEYWORD_TYPES: dict[str, frozenset[str]] = {
    "a text": _words(
        "task_id dag_id group_id owner pool queue external_dag_id external_task_id external_task_group_id mode",
        "dataset_id project_id table_id source_table destination_table partition_id sql_file_path table_partition_template",
        "date_partition_parameter gcp_conn_id docker_image image name gke_project_id gke_location gke_cluster_name",
        "gke_namespace location cluster_name namespace connector_id fivetran_conn_id warehouse_id trigger_rule logical_date",
    ),
    "True or False": _words(
        "depends_on_past wait_for_downstream ignore_first_depends_on_past email_on_retry email_on_failure check_existence",
        "deferrable multipart is_dq_check_fail catchup soft_fail do_xcom_push durable get_logs wait_for_completion",
        "prefix_group_id add_suffix_on_collision fail_fast auto_register is_paused_upon_creation",
    ),
    "a whole number": _words(
        "retries priority_weight pool_slots max_active_tis_per_dag max_active_tis_per_dagrun max_active_tasks",
        "max_active_runs startup_timeout_seconds recursion_depth",
    ),
    "a duration": _words(
        "retry_delay max_retry_delay poke_interval timeout execution_delta execution_timeout dagrun_timeout"
    ),
    "a date": _words("start_date end_date"),
    "a list": _words(
        "arguments parameters secrets allowed_states failed_states skipped_states external_task_ids cmds tags"
    ),
    "a dict": _words("default_args node_selector params labels annotations owner_links"),
}
"""What a value must be where it is written out; None is fine everywhere."""

KEYWORD_RULES = {
    "schedule_interval": "dag-schedule",
    "timetable": "dag-schedule",
    "concurrency": "dag-max-active-tasks",
    "fail_stop": "dag-fail-fast",
    "task_concurrency": "task-concurrency",
    "cron": "timetable-expression",
    "execution_date": "marker-logical-date",
    "poll_interval": "sensor-poke-interval",
    "polling_interval": "sensor-poke-interval",
    "reattach_on_restart": "pod-durable",
    "is_delete_operator_pod": "pod-finish-action",
}


@dataclass(frozen=True)
class Rule:
    """One difference between Airflow 2.10 and 3.3."""

    name: str
    what: str
    source: str


_TASK_SDK = "airflow/sdk/definitions/dag.py"
RULES: tuple[Rule, ...] = (
    Rule(
        "moved-import",
        "An import from a path that Airflow 3.3 only keeps as a shim, or no longer has, is made from where the name is.",
        "airflow/{operators,sensors,utils,models,...}/__init__.py; airflow/utils/deprecation_tools.py",
    ),
    Rule(
        "retired-import",
        "An import of a helper that is gone, and that the file does not use, is left out.",
        "utils/gcp.py",
    ),
    Rule("dag-schedule", "DAG(schedule_interval=) and DAG(timetable=) are DAG(schedule=).", _TASK_SDK),
    Rule(
        "dag-schedule-default",
        "A DAG without a schedule ran every day in 2.10 (timedelta(days=1)) and never in 3.3: the day is written out.",
        "2.10 airflow/models/dag.py DEFAULT_SCHEDULE_INTERVAL; 3.3 " + _TASK_SDK,
    ),
    Rule(
        "dag-catchup-default",
        "A DAG without catchup took the deployment's setting, off in production: catchup=False is written out.",
        "production's [scheduler] catchup_by_default",
    ),
    Rule(
        "dag-start-date",
        "Where a task has a start_date and its DAG has none, start_date=None is written out: 3.3 takes the DAG's from default_args, "
        "and no task would start before it.",
        _TASK_SDK,
    ),
    Rule("timetable-expression", "cron= of a timetable is expression=.", "airflow/sdk/definitions/timetables/"),
    Rule("dag-max-active-tasks", "DAG(concurrency=) is DAG(max_active_tasks=).", _TASK_SDK),
    Rule("dag-fail-fast", "DAG(fail_stop=) is DAG(fail_fast=).", _TASK_SDK),
    Rule(
        "keyword-dropped",
        "default_view, orientation, full_filepath and provide_context do nothing: left out.",
        _TASK_SDK,
    ),
    Rule(
        "task-concurrency",
        "task_concurrency is max_active_tis_per_dag, in calls and in default_args. Airflow 3 refuses the old name.",
        "airflow/sdk/bases/operator.py",
    ),
    Rule(
        "first-depends-on-past",
        "Where depends_on_past is on, ignore_first_depends_on_past=True is written out: its default was True in 2.10 and is False "
        "in 3.3, where the first run of a new task would wait for ever.",
        "2.10 [scheduler] ignore_first_depends_on_past_by_default; 3.3 airflow/ti_deps/deps/prev_dagrun_dep.py",
    ),
    Rule(
        "trigger-rule",
        "The trigger rules dummy and none_failed_or_skipped are always and none_failed_min_one_success.",
        "airflow/task/trigger_rule.py",
    ),
    Rule(
        "marker-logical-date",
        "ExternalTaskMarker(execution_date=) is ExternalTaskMarker(logical_date=).",
        "airflow/providers/standard/sensors/external_task.py",
    ),
    Rule(
        "sensor-poke-interval",
        "poll_interval of ExternalTaskSensor and polling_interval of BigQuery's sensors are poke_interval.",
        "airflow/providers/standard/sensors/external_task.py; airflow/providers/google/cloud/sensors/bigquery.py",
    ),
    Rule(
        "retry-backoff",
        "retry_exponential_backoff=True is 2.0, False is 0.0: a flag in 2.10, the factor in 3.3.",
        "airflow/sdk/bases/operator.py; airflow/models/taskinstance.py",
    ),
    Rule("pod-durable", "reattach_on_restart is durable.", "airflow/providers/cncf/kubernetes/operators/pod.py"),
    Rule(
        "pod-finish-action",
        "is_delete_operator_pod=True is on_finish_action='delete_pod', False is 'keep_pod'.",
        "airflow/providers/cncf/kubernetes/operators/pod.py",
    ),
    Rule(
        "template-logical-date",
        "In a template, execution_date, dag_run.execution_date and ti.execution_date are the logical date.",
        "airflow/sdk/definitions/context.py",
    ),
    Rule(
        "template-next-date",
        "next_execution_date, next_ds and next_ds_nodash are the end of the data interval, in manual runs the logical date.",
        "2.10 airflow/models/taskinstance.py get_template_context",
    ),
    Rule(
        "template-day-away",
        "yesterday_ds, tomorrow_ds and their nodash forms are a day from ds.",
        "2.10 airflow/models/taskinstance.py get_template_context",
    ),
    Rule(
        "template-external-trigger",
        "dag_run.external_trigger is a question about dag_run.run_type.",
        "airflow/sdk/types.py DagRunProtocol",
    ),
    Rule(
        "template-assets", "triggering_dataset_events is triggering_asset_events.", "airflow/sdk/definitions/context.py"
    ),
)
"""Every rule that changes a file, in the order of the docs."""
