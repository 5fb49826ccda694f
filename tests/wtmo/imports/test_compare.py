"""The comparison of a file before and after translation: equal where it is, and each mutation found."""

from __future__ import annotations

from pathlib import Path

import pytest

from wtmo.imports.compare import Difference, compare, compare_files
from wtmo.imports.sandbox import Candidate, Loaded, Refused, Sandbox
from wtmo.imports.translate import translate

HERE = Path(__file__).parent

# A file in the generator's shape, with a name of each kind that Airflow 3 spells otherwise.
BEFORE = """\
from airflow import DAG
from airflow.sensors.external_task import ExternalTaskMarker
from airflow.sensors.external_task import ExternalTaskSensor
from airflow.utils.task_group import TaskGroup
from airflow.utils.state import State
from airflow.operators.empty import EmptyOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.providers.google.cloud.sensors.bigquery import BigQueryTableExistenceSensor
import datetime
from kubernetes.client import models as k8s
from operators.gcp_container_operator import GKEPodOperator
from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.gcp import bigquery_etl_query, bigquery_dq_check, bigquery_bigeye_check

key = Secret(deploy_type="env", deploy_target="KEY", secret="airflow-gke-secrets", key="orchard__key")

default_args = {
    "owner": "data-engineering",
    "start_date": datetime.datetime(2024, 1, 5, 0, 0),
    "end_date": None,
    "email": ["telemetry-alerts@mozilla.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=1800),
    "email_on_failure": True,
    "email_on_retry": True,
    "retries": 2,
    "max_active_tis_per_dag": None,
}

with DAG(
    "bqetl_orchard",
    default_args=default_args,
    schedule_interval="@daily",
    doc_md="Trees",
    tags=["impact/tier_2", "repo/bigquery-etl"],
    catchup=False,
) as dag:
    group = TaskGroup("trees")

    wait = ExternalTaskSensor(
        task_id="wait",
        external_dag_id="copy_deduplicate",
        external_task_id="copy.all",
        execution_delta=datetime.timedelta(days=-1, seconds=82800),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(minutes=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )
    table = BigQueryTableExistenceSensor(
        task_id="table",
        project_id="moz-fx-data-shared-prod",
        dataset_id="orchard",
        table_id="trees_v1",
        gcp_conn_id="google_cloud_shared_prod",
        deferrable=True,
        poke_interval=datetime.timedelta(minutes=5),
        timeout=datetime.timedelta(hours=24),
    )
    pick = bigquery_etl_query(
        task_id="pick",
        destination_table='apples_v1${{ macros.ds_format(macros.ds_add(ds, -1), "%Y-%m-%d", "%Y%m%d") }}',
        dataset_id="orchard_derived",
        project_id="moz-fx-data-shared-prod",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter=None,
        depends_on_past=True,
        task_concurrency=1,
        parameters=["date:DATE:{{macros.ds_add(ds, -1)}}", "next:DATE:{{ next_ds }}"],
        arguments=["--append_table"],
        task_group=group,
    )
    press = GKEPodOperator(
        task_id="press",
        arguments=["python", "press.py"] + ["--date={{ ds }}"],
        image="example/press:1",
        secrets=[key],
        container_resources=k8s.V1ResourceRequirements(requests={"memory": "2Gi"}),
        trigger_rule="all_done",
    )
    check = bigquery_dq_check(
        task_id="check",
        source_table="apples_v1",
        dataset_id="orchard_derived",
        is_dq_check_fail=True,
        parameters=["date:DATE:{{ds}}"],
    )
    eye = bigquery_bigeye_check(
        task_id="eye",
        table_id="moz-fx-data-shared-prod.orchard_derived.apples_v1",
        warehouse_id="1939",
        execution_timeout=datetime.timedelta(hours=1),
    )
    with TaskGroup("apples_external") as apples_external:
        ExternalTaskMarker(
            task_id="bqetl_cider__wait",
            external_dag_id="bqetl_cider",
            external_task_id="wait",
            execution_date="{{ (execution_date - macros.timedelta(days=-1, seconds=75600)).isoformat() }}",
        )
        apples_external.set_upstream(pick)
    first = EmptyOperator(task_id="first")
    first >> [wait, table]
    pick.set_upstream(wait)
    pick.set_upstream(table)
    check.set_upstream(pick)
    eye.set_upstream(check)
    press.set_upstream(eye)
"""
# Its translation, by hand: this is not a test of the translator.
MOVED = {
    "from airflow import DAG": "from airflow.sdk import DAG, TaskGroup",
    "from airflow.sensors.external_task": "from airflow.providers.standard.sensors.external_task",
    "from airflow.utils.task_group import TaskGroup\n": "",
    "from airflow.utils.state import State\n": "",
    "from airflow.operators.empty": "from airflow.providers.standard.operators.empty",
    "schedule_interval=": "schedule=",
    "depends_on_past=True": "depends_on_past=True, ignore_first_depends_on_past=True",
    "task_concurrency=": "max_active_tis_per_dag=",
    "{{ next_ds }}": "{{ (logical_date if dag_run.run_type == 'manual' else data_interval_end) | ds }}",
    "execution_date=": "logical_date=",
    "(execution_date -": "(logical_date -",
}
AFTER = BEFORE
for old, new in MOVED.items():
    AFTER = AFTER.replace(old, new)

MUTATIONS = {
    "another edge": ("eye.set_upstream(check)", "eye.set_upstream(pick)", {"edge"}),
    "an edge less": ("    pick.set_upstream(wait)\n", "", {"edge"}),
    "a marker's edge less": ("        apples_external.set_upstream(pick)\n", "", {"edge"}),
    "a delta": ("seconds=82800", "seconds=82801", {"execution_delta"}),
    "no delta": ("        execution_delta=datetime.timedelta(days=-1, seconds=82800),\n", "", {"execution_delta"}),
    "a target": ('"copy.all"', '"copy.none"', {"external_task_ids"}),
    "a target's DAG": ('"copy_deduplicate"', '"copy"', {"external_dag_id"}),
    "existence": ("check_existence=True", "check_existence=False", {"check_existence"}),
    "a mode": ('mode="reschedule"', 'mode="poke"', {"mode"}),
    "states": ("failed_states=FAILED_STATES", "failed_states=[]", {"failed_states"}),
    "a pool": ('        pool="DATA_ENG_EXTERNALTASKSENSOR",\n', "", {"pool"}),
    "a poke": ("minutes=5),\n        allowed", "minutes=6),\n        allowed", {"poke_interval"}),
    "a time-out": ("hours=24", "hours=23", {"timeout"}),
    "deferral": ("deferrable=True", "deferrable=False", {"deferrable"}),
    "an argument": ('"--append_table"', '"--noreplace"', {"arguments"}),
    "a partition": ("macros.ds_add(ds, -1), ", "macros.ds_add(ds, -2), ", {"arguments"}),
    "a date": ("next:DATE:{{ (logical_date if dag_run.run_type == 'manual' else data_interval_end) | ds }}",
               "next:DATE:{{ data_interval_end | ds }}", {"arguments"}),
    "a marker's shift": ("seconds=75600", "seconds=75601", {"logical_date"}),
    "a marker's default": (
        '            logical_date="{{ (logical_date - macros.timedelta(days=-1, seconds=75600)).isoformat() }}",\n',
        "",
        {"logical_date"},
    ),
    "concurrency": ("max_active_tis_per_dag=1", "max_active_tis_per_dag=2", {"max_active_tis_per_dag"}),
    "the past": ("depends_on_past=True, ", "depends_on_past=False, ", {"depends_on_past", "ignore_first_depends_on_past"}),
    "the first past": (", ignore_first_depends_on_past=True", "", {"ignore_first_depends_on_past"}),
    "a trigger rule": ("all_done", "all_success", {"trigger_rule"}),
    "an image": ("example/press:1", "example/press:2", {"image"}),
    "a secret": ("orchard__key", "orchard__lock", {"secrets"}),
    "resources": ('"2Gi"', '"3Gi"', {"container_resources"}),
    "a warehouse": ('"1939"', '"1940"', {"arguments"}),
    "an execution time-out": ("hours=1)", "hours=2)", {"execution_timeout"}),
    "a check's kind": ("is_dq_check_fail=True", "is_dq_check_fail=False", {"arguments"}),
    "retries": ('"retries": 2', '"retries": 1', {"retries"}),
    "a retry's delay": ("seconds=1800", "seconds=1801", {"retry_delay"}),
    "mail": ('"email_on_retry": True', '"email_on_retry": False', {"email_on_retry"}),
    "a start": ("2024, 1, 5", "2024, 1, 6", {"start_date"}),
    "an end": ('"end_date": None', '"end_date": datetime.datetime(2030, 1, 1)', {"end_date"}),
    "a schedule": ('"@daily"', '"@hourly"', {"schedule"}),
    "catch-up": ("catchup=False", "catchup=True", {"catchup"}),
    "active runs": ("catchup=False", "catchup=False, max_active_runs=1", {"max_active_runs"}),
    "a tag": ('"repo/bigquery-etl"', '"repo/private-bigquery-etl"', {"tags"}),
    "documentation": ('"Trees"', '"Bushes"', {"doc_md"}),
    "a group": ("        task_group=group,\n", "", {"task", "edge"}),
    "a group's name": ('TaskGroup("trees")', 'TaskGroup("bushes")', {"task", "edge", "group trees", "group bushes"}),
    "a task's id": ('task_id="press"', 'task_id="squeeze"', {"task", "edge"}),
    "a DAG's id": ('"bqetl_orchard"', '"bqetl_garden"', {"dag"}),
    "an owner": ('"owner": "data-engineering"', '"owner": "others"', {"owner"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def recorded(sandbox: Sandbox) -> Loaded:
    (outcome,) = sandbox.record([Candidate("bqetl_orchard.py", BEFORE.encode())])
    assert isinstance(outcome, Loaded), outcome
    return outcome


@pytest.fixture(scope="module")
def mutated(sandbox: Sandbox) -> dict[str, Loaded | Refused]:
    """Every mutation, loaded in one go."""
    texts = {name: AFTER.replace(old, new) for name, (old, new, _) in MUTATIONS.items()}
    files = [Candidate(f"{name}.py", text.encode()) for name, text in texts.items()]
    return {outcome.name.removesuffix(".py"): outcome for outcome in sandbox.load(files)}


def test_a_true_translation_is_equal(sandbox: Sandbox) -> None:
    name = "bqetl_orchard.py"
    (after,) = sandbox.load([Candidate(name, AFTER.encode())])
    assert isinstance(after, Loaded), after
    assert list(compare_files(sandbox, [Candidate(name, BEFORE.encode())], {name: after})) == [(name, [])]


def test_what_the_translator_makes_of_every_form_of_file_is_equal(sandbox: Sandbox) -> None:
    originals = [Candidate(path.name, path.read_bytes()) for path in sorted((HERE / "generated").glob("*.py"))]
    translations = [Candidate(each.name, translate(each.text, each.name).text.encode()) for each in originals]
    outcomes = list(sandbox.load(translations))
    assert [outcome for outcome in outcomes if isinstance(outcome, Refused)] == []
    loaded = {outcome.name: outcome for outcome in outcomes if isinstance(outcome, Loaded)}
    found = dict(compare_files(sandbox, originals, loaded))
    assert found == {each.name: [] for each in originals}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_found(name: str, recorded: Loaded, mutated: dict[str, Loaded | Refused]) -> None:
    old, new, what = MUTATIONS[name]
    assert old in AFTER
    assert AFTER.replace(old, new) != AFTER
    after = mutated[name]
    assert isinstance(after, Loaded), after
    assert {difference.what for difference in compare(recorded.shapes, after.shapes)} == what


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("from airflow.nowhere import Something", "does not know the module airflow.nowhere"),
        ("from airflow.utils.dates import days_ago", "does not know the module airflow.utils.dates"),
        ("from airflow.models import Variable", "does not know airflow.models.Variable"),
        ("EmptyOperator(task_id='x', dag=dag, colour=1)", "does not know EmptyOperator(colour=)"),
        ("DAG('x', colour=1)", "does not know DAG(colour=)"),
        ("TaskGroup('x', colour=1)", "colour"),
        ("EmptyOperator(task_id='first', dag=dag)", "already been added"),
        ("first >> 'second'", "edge"),
        ("State.PURPLE", "State.PURPLE"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def", "SyntaxError"),
    ],
)
def test_what_the_recorder_does_not_know_is_no_pass(sandbox: Sandbox, line: str, reason: str) -> None:
    (outcome,) = sandbox.record([Candidate("x.py", f"{BEFORE}{line}\n".encode())])
    assert isinstance(outcome, Refused), outcome
    assert outcome.line == BEFORE.count("\n") + 1
    assert reason in outcome.reason


def test_an_original_that_cannot_be_recorded_is_told(sandbox: Sandbox, recorded: Loaded) -> None:
    ((name, outcome),) = compare_files(sandbox, [Candidate("x.py", b"import airflow.nowhere\n")], {"x.py": recorded})
    assert name == "x.py"
    assert isinstance(outcome, Refused)


def test_without_a_schedule_airflow_2_runs_daily(sandbox: Sandbox) -> None:
    text = BEFORE.replace('    schedule_interval="@daily",\n', "")
    (outcome,) = sandbox.record([Candidate("x.py", text.encode())])
    assert isinstance(outcome, Loaded), outcome
    assert outcome.shapes[0]["dag"]["schedule"]["delta"] == 86_400


def test_a_difference_says_where_what_and_both_values() -> None:
    before = [{"dag_id": "d", "dag": {"catchup": True}, "groups": {}, "edges": [], "tasks": {}}]
    after = [{"dag_id": "d", "dag": {"catchup": False}, "groups": {}, "edges": [], "tasks": {}}]
    assert compare(before, after) == [Difference("d", "catchup", "True", "False")]
    assert str(compare(before, after)[0]) == "d: catchup was True, is False"
    assert compare(before, []) == [Difference("d", "dag", "dag", "(nothing)")]
    assert compare([], before) == [Difference("d", "dag", "(nothing)", "dag")]
