"""The translator, rule by rule and refusal by refusal. No Airflow: it is a pure function of the file's bytes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from utils.config import ROOT
from wtmo.imports import translate as module
from wtmo.imports.translate import RULES, Change, Problem, Translation, TranslationError, fingerprint, translate

HERE = Path(__file__).parent
GENERATED = sorted((HERE / "generated").glob("*.py"))
TRANSLATED = HERE / "translated"

IMPORTS = """\
import datetime
from airflow.sdk import DAG, TaskGroup
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from kubernetes.client import models as k8s
from operators.gcp_container_operator import GKEPodOperator
from utils.constants import ALLOWED_STATES
from utils.gcp import bigquery_etl_query, bigquery_dq_check
"""
AT = IMPORTS.count("\n") + 1
"""The line that follows the imports."""


def run(text: str | bytes) -> Translation:
    """Translate, and again: the second time changes nothing."""
    source = text if isinstance(text, bytes) else text.encode()
    result = translate(source, "f.py")
    assert translate(source, "f.py") == result
    again = translate(result.text.encode(), "f.py")
    assert (again.text, again.changes) == (result.text, ())
    return result


def body(text: str) -> Translation:
    """Translate statements that follow the usual imports; the text without the imports."""
    result = run(IMPORTS + text)
    assert result.text.startswith(IMPORTS)
    return Translation(result.text.removeprefix(IMPORTS), result.changes)


def problems(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(TranslationError) as refused:
        translate(text if isinstance(text, bytes) else text.encode(), "f.py")
    assert refused.value.problems
    for problem in refused.value.problems:
        assert (f"f.py:{problem.line}: " if problem.line else "f.py: ") + problem.reason in str(refused.value)
    return refused.value.problems


# The fixtures: the generator's shape, every import, keyword and branch of its templates.


def test_there_are_fixtures() -> None:
    assert {path.name for path in GENERATED} == {path.name for path in TRANSLATED.glob("*.py")}
    assert len(GENERATED) >= 5


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_a_generated_file_becomes_the_expected_one(path: Path) -> None:
    assert run(path.read_bytes()).text == (TRANSLATED / path.name).read_text()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_comments_and_prose_survive(path: Path) -> None:
    text = run(path.read_bytes()).text
    comments = [line for line in path.read_text().splitlines() if line.lstrip().startswith("#")]
    assert comments
    for line in comments:
        assert line in text.splitlines()


def test_prose_is_no_template() -> None:
    text = (TRANSLATED / "bqetl_orchard.py").read_text()
    assert "{{ execution_date }} and {{ no_such_variable }}" in text
    assert "doc_md='Wants {{ execution_date }} in \"prose\".'" in text


def test_every_change_names_a_rule_and_a_line_of_the_source() -> None:
    rules = {rule.name for rule in RULES}
    assert len(rules) == len(RULES)
    for path in GENERATED:
        source = path.read_text().splitlines()
        changes = translate(path.read_bytes(), path.name).changes
        assert [change.line for change in changes] == sorted(change.line for change in changes)
        for change in changes:
            assert change.rule in rules
            assert 1 <= change.line <= len(source)


def test_a_change_is_at_the_line_of_what_it_changes() -> None:
    source = (HERE / "generated" / "bqetl_orchard.py").read_text().splitlines()
    for change in translate((HERE / "generated" / "bqetl_orchard.py").read_bytes(), "f.py").changes:
        looked_for = {
            "moved-import": "import",
            "dag-schedule": "schedule_interval=",
            "task-concurrency": "task_concurrency=",
            "marker-logical-date": "execution_date=",
            "template-logical-date": "execution_date",
            "first-depends-on-past": "depends_on_past=True",
            "dag-start-date": "DAG(",
        }[change.rule]
        around = source[change.line - 1] if looked_for != "import" else "import " + source[change.line - 1]
        assert looked_for in around


def test_every_rule_is_shown_by_a_test_here() -> None:
    shown = {change.rule for path in GENERATED for change in translate(path.read_bytes(), path.name).changes}
    shown |= {rule for _, _, rule in RULES_SHOWN}
    assert shown == {rule.name for rule in RULES}


# Rules, one by one.

TASK = 'q = bigquery_etl_query(task_id="q", {})\n'
POD = 'p = GKEPodOperator(task_id="p", {})\n'
MARK = 'm = ExternalTaskMarker(task_id="m", {})\n'

RULES_SHOWN: list[tuple[str, str, str]] = [
    (
        'd = DAG("d", schedule_interval=None, catchup=True)\n',
        'd = DAG("d", schedule=None, catchup=True)\n',
        "dag-schedule",
    ),
    (
        'd = DAG("d", default_args={}, catchup=True)\n',
        'd = DAG("d", default_args={}, catchup=True, schedule=datetime.timedelta(days=1))\n',
        "dag-schedule-default",
    ),
    ('d = DAG("d", schedule="@once")\n', 'd = DAG("d", schedule="@once", catchup=False)\n', "dag-catchup-default"),
    (
        'd = DAG(\n    "d",\n    schedule="@once",  # when?\n)\n',
        'd = DAG(\n    "d",\n    schedule="@once",\n    catchup=False,  # when?\n)\n',
        "dag-catchup-default",
    ),
    (
        'd = DAG("d", schedule=None, catchup=False)\n' + TASK.format("start_date=datetime.datetime(2018, 8, 1)"),
        'd = DAG("d", schedule=None, catchup=False, start_date=None)\n'
        + TASK.format("start_date=datetime.datetime(2018, 8, 1)"),
        "dag-start-date",
    ),
    (
        'd = DAG("d", schedule=None, catchup=False, concurrency=4)\n',
        'd = DAG("d", schedule=None, catchup=False, max_active_tasks=4)\n',
        "dag-max-active-tasks",
    ),
    (
        'd = DAG("d", schedule=None, catchup=False, fail_stop=True)\n',
        'd = DAG("d", schedule=None, catchup=False, fail_fast=True)\n',
        "dag-fail-fast",
    ),
    (
        'd = DAG("d", schedule=None, default_view="graph", catchup=False)\n',
        'd = DAG("d", schedule=None, catchup=False)\n',
        "keyword-dropped",
    ),
    (
        'd = DAG("d", schedule=None, catchup=False, orientation="LR")\n',
        'd = DAG("d", schedule=None, catchup=False)\n',
        "keyword-dropped",
    ),
    (TASK.format("provide_context=True"), 'q = bigquery_etl_query(task_id="q")\n', "keyword-dropped"),
    (TASK.format("task_concurrency=1"), TASK.format("max_active_tis_per_dag=1"), "task-concurrency"),
    (
        TASK.format("depends_on_past=True"),
        TASK.format("depends_on_past=True, ignore_first_depends_on_past=True"),
        "first-depends-on-past",
    ),
    (
        TASK.format("wait_for_downstream=True"),
        TASK.format("wait_for_downstream=True, ignore_first_depends_on_past=True"),
        "first-depends-on-past",
    ),
    (TASK.format('trigger_rule="dummy"'), TASK.format('trigger_rule="always"'), "trigger-rule"),
    (
        TASK.format("trigger_rule='none_failed_or_skipped'"),
        TASK.format("trigger_rule='none_failed_min_one_success'"),
        "trigger-rule",
    ),
    (MARK.format('execution_date="x"'), MARK.format('logical_date="x"'), "marker-logical-date"),
    (
        's = ExternalTaskSensor(task_id="s", poll_interval=5)\n',
        's = ExternalTaskSensor(task_id="s", poke_interval=5)\n',
        "sensor-poke-interval",
    ),
    (TASK.format("retry_exponential_backoff=True"), TASK.format("retry_exponential_backoff=2.0"), "retry-backoff"),
    (TASK.format("retry_exponential_backoff=False"), TASK.format("retry_exponential_backoff=0.0"), "retry-backoff"),
    (POD.format("reattach_on_restart=False"), POD.format("durable=False"), "pod-durable"),
    (
        POD.format("is_delete_operator_pod=True"),
        POD.format('on_finish_action="delete_pod"'),
        "pod-finish-action",
    ),
    (
        POD.format("is_delete_operator_pod=False"),
        POD.format('on_finish_action="keep_pod"'),
        "pod-finish-action",
    ),
    (
        'from airflow.timetables.interval import CronDataIntervalTimetable\nd = DAG("d", timetable=CronDataIntervalTimetable(cron="1 2 * * *", timezone="UTC"), catchup=True)\n',
        'from airflow.sdk import CronDataIntervalTimetable\nd = DAG("d", schedule=CronDataIntervalTimetable(expression="1 2 * * *", timezone="UTC"), catchup=True)\n',
        "timetable-expression",
    ),
    ("from utils.gcp import gke_command\n", "", "retired-import"),
    (
        "from airflow.operators.dummy import DummyOperator\nn = DummyOperator(task_id='n')\n",
        "from airflow.providers.standard.operators.empty import EmptyOperator as DummyOperator\nn = DummyOperator(task_id='n')\n",
        "moved-import",
    ),
    (
        "from airflow.utils.state import State\nx = [State.SUCCESS]\n",
        "from airflow.sdk import TaskInstanceState as State\nx = [State.SUCCESS]\n",
        "moved-import",
    ),
    (
        "from airflow.models import (\n    DAG as Dag,  # the DAG\n    Param,\n)\n",
        "from airflow.sdk import (\n    DAG as Dag,  # the DAG\n    Param,\n)\n",
        "moved-import",
    ),
    (
        "from airflow.operators.python import PythonOperator, get_current_context\n",
        "from airflow.providers.standard.operators.python import PythonOperator\nfrom airflow.sdk import get_current_context\n",
        "moved-import",
    ),
    (
        MARK.format('logical_date="{{ execution_date }}"'),
        MARK.format('logical_date="{{ logical_date }}"'),
        "template-logical-date",
    ),
    (
        TASK.format("arguments=['{{ dag_run.external_trigger }}']"),
        TASK.format("""arguments=['{{ (dag_run.run_type in ("manual", "operator_triggered")) }}']"""),
        "template-external-trigger",
    ),
    (
        TASK.format('arguments=["{{ next_execution_date }}"]'),
        TASK.format(
            "arguments=[\"{{ (logical_date if dag_run.run_type in ('manual', 'operator_triggered') else data_interval_end) }}\"]"
        ),
        "template-next-date",
    ),
    (
        TASK.format('arguments=["{{ tomorrow_ds_nodash }}"]'),
        TASK.format("arguments=[\"{{ macros.ds_format(macros.ds_add(ds, 1), '%Y-%m-%d', '%Y%m%d') }}\"]"),
        "template-day-away",
    ),
    (
        TASK.format('arguments=["{{ triggering_dataset_events }}"]'),
        TASK.format('arguments=["{{ triggering_asset_events }}"]'),
        "template-assets",
    ),
]


@pytest.mark.parametrize(("before", "after", "rule"), RULES_SHOWN, ids=lambda value: str(value)[:40])
def test_rule(before: str, after: str, rule: str) -> None:
    result = body(before)
    assert result.text == after
    changes = [change for change in result.changes if change.rule == rule]
    assert changes
    assert changes[0].line >= AT


@pytest.mark.parametrize(
    "text",
    [
        TASK.format("depends_on_past=False"),
        TASK.format("depends_on_past=True, ignore_first_depends_on_past=False"),
        TASK.format("parameters=['a:DATE:{{ds}}', 'b:DATE:{{ macros.ds_add(ds, -1) }}', '${{ds_nodash}}']"),
        TASK.format(
            "arguments=['{{ data_interval_start.subtract(days=1) | ds_nodash }}', '{{ var.value.a }}{{ params.b }}']"
        ),
        TASK.format("arguments=['{% set x = 1 %}{{ x }}{% if ds %}{% endif %}', '{# execution_date #}', '{}', '{ds}']"),
        TASK.format("arguments=['{% raw %}{{ execution_date }}{% endraw %}']"),
        "x = [-1, 2.5, True, None, 'a' 'b', ('c',), {'d': None}]\n",
        'd = DAG("d", schedule=None, catchup=False)\nwith d:\n    n = EmptyOperator(task_id="n")\n    pass\n',
        'a = EmptyOperator(task_id="a")\nb = EmptyOperator(task_id="b")\na >> [b]\nb << a\na.set_downstream([b])\n',
        "text = 'a { b'\nx = bigquery_dq_check(task_id='x', source_table=text)\n",
    ],
)
def test_what_needs_no_change_stays(text: str) -> None:
    assert body(text) == Translation(text, ())


def test_default_args() -> None:
    result = body("""\
default_args = {
    "owner": "o",  # who
    'depends_on_past': True,
    "task_concurrency": 2,
    "provide_context": True,
    "trigger_rule": "dummy",
}
with DAG("d", schedule=None, catchup=False, default_args=default_args):
    pass
""")
    assert result.text.startswith("""\
default_args = {
    "owner": "o",  # who
    'depends_on_past': True,
    'ignore_first_depends_on_past': True,
    "max_active_tis_per_dag": 2,
    "trigger_rule": "always",
}
""")
    assert [(change.rule, change.line - AT) for change in result.changes] == [
        ("first-depends-on-past", 2),
        ("task-concurrency", 3),
        ("keyword-dropped", 4),
        ("trigger-rule", 5),
    ]


def test_a_comment_beside_an_addition_stays_once() -> None:
    call = 'd = DAG("d", schedule=None, catchup=True, default_args=default_args)\n'
    text = body('default_args = {\n    "depends_on_past": True,  # why\n    "retries": 1,\n}\n' + call).text
    added = '    "depends_on_past": True,\n    "ignore_first_depends_on_past": True,  # why\n    "retries": 1,\n'
    assert text == "default_args = {\n" + added + "}\n" + call


def test_default_args_that_stand_in_the_call() -> None:
    result = body('d = DAG("d", schedule=None, catchup=False, default_args={"wait_for_downstream": True})\n')
    assert '{"wait_for_downstream": True, "ignore_first_depends_on_past": True}' in result.text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r'"{{ execution_date }}\n"', r'"{{ logical_date }}\n"'),
        (r'"\x41\101\u0041{{ execution_date }}"', r'"\x41\101\u0041{{ logical_date }}"'),
        (r'"{{ \"a\" ~ execution_date }}"', r'"{{ \"a\" ~ logical_date }}"'),
        (r'"\d{{ execution_date }}"', r'"\d{{ logical_date }}"'),
        (r'r"\d{{ execution_date }}"', r'r"\d{{ logical_date }}"'),
        (r'r"\x{{ execution_date }}"', r'r"\x{{ logical_date }}"'),
        ('"""a\n{{ execution_date }}"""', '"""a\n{{ logical_date }}"""'),
        ('"a" "{{ execution_date }}"', '"a" "{{ logical_date }}"'),
        ('"{{ execution_date }}" + "{{ execution_date }}"', '"{{ logical_date }}" + "{{ logical_date }}"'),
        ('"{{ f(execution_date=execution_date) }}{{ x.execution_date }}"', None),
        ('"{{ macros.ds_add(execution_date=execution_date) }}"', '"{{ macros.ds_add(execution_date=logical_date) }}"'),
        ('"{{ dag.execution_date }}{{ execution_date }}"', '"{{ dag.execution_date }}{{ logical_date }}"'),
        (
            '"{%- if execution_date -%} x {%- endif -%} {{ execution_date }}"',
            '"{%- if logical_date -%} x {%- endif -%} {{ logical_date }}"',
        ),
        ('f"{{{{ execution_date }}}}"', 'f"{{{{ logical_date }}}}"'),
        ('f"{{{{ execution_date }}}}/{name}/{{{{ ds }}}}"', 'f"{{{{ logical_date }}}}/{name}/{{{{ ds }}}}"'),
        ("f'{name}{{{{ ti.execution_date }}}}'", "f'{name}{{{{ logical_date }}}}'"),
        ('"{{ yesterday_ds_nodash }}"', "\"{{ macros.ds_format(macros.ds_add(ds, -1), '%Y-%m-%d', '%Y%m%d') }}\""),
        ("'''{{ yesterday_ds }}'''", "'''{{ macros.ds_add(ds, -1) }}'''"),
        ('"{{ task_instance.execution_date | ds }}"', '"{{ logical_date | ds }}"'),
    ],
)
def test_templates_in_every_kind_of_string(before: str, after: str | None) -> None:
    text = 'name = "n"\nq = bigquery_etl_query(task_id="q", arguments=[{}])\n'
    if after is None:
        problems(IMPORTS + text.replace("{}", before))
    else:
        assert body(text.replace("{}", before)).text == text.replace("{}", after)


def test_the_line_of_a_template_in_a_long_string() -> None:
    result = body('q = bigquery_etl_query(\n    task_id="q",\n    arguments=["""a\nb\n{{ execution_date }}"""],\n)\n')
    assert [(change.rule, change.line - AT) for change in result.changes] == [("template-logical-date", 4)]
    pieces = body(
        'q = bigquery_etl_query(\n    task_id="q",\n    arguments=["a"\n    # why\n    "{{ execution_date }}"],\n)\n'
    )
    assert [change.line - AT for change in pieces.changes] == [4]
    (problem,) = problems('x = """\n\n{{ no }}"""\n')
    assert problem.line == 3


def test_line_ends_and_indentation_survive() -> None:
    text = 'from airflow import DAG\r\nwith DAG(\r\n\t"d",\r\n\tschedule_interval=None,\r\n) as dag:\r\n\tpass'
    assert run(text).text == (
        'from airflow.sdk import DAG\r\nwith DAG(\r\n\t"d",\r\n\tschedule=None,\r\n\tcatchup=False,\r\n) as dag:\r\n\tpass'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# one\nfrom utils.gcp import gke_command\n# two\nimport datetime\n", "# one\n# two\nimport datetime\n"),
        ("from utils.gcp import gke_command  # three\nimport datetime\n", "# three\nimport datetime\n"),
        ("import datetime\n# four\nfrom utils.gcp import gke_command\n", "import datetime\n# four\npass\n"),
    ],
)
def test_comments_of_an_import_that_is_left_out_survive(before: str, after: str) -> None:
    assert run(before).text == after


def test_one_import_of_names_that_went_to_several_places() -> None:
    result = run("from airflow.sensors.base import BaseSensorOperator, poke_mode_only  # both\n")
    assert result.text == (
        "from airflow.sdk import BaseSensorOperator  # both\nfrom airflow.sdk.bases.sensor import poke_mode_only\n"
    )


# What is not known.

REFUSED: list[tuple[str, int, str]] = [
    ("import requests\n", 0, "unknown import: requests"),
    ("from requests import get\n", 0, "unknown import: requests.get"),
    ("import airflow\n", 0, "unknown import: airflow"),
    ("from airflow.models import Variable\n", 0, "unknown import: airflow.models.Variable"),
    ("from utils.gcp import bigquery_etl_qwery\n", 0, "unknown import: utils.gcp.bigquery_etl_qwery"),
    ("from airflow.operators.subdag import SubDagOperator\n", 0, "Write the inner tasks in a TaskGroup"),
    ("from airflow.utils.dates import days_ago\n", 0, "Give a fixed start_date"),
    ("from fivetran_provider_async.sensors import FivetranSensor\n", 0, "unknown import"),
    ("from operators.task_sensor import ExternalTaskCompletedSensor\n", 0, "Use ExternalTaskSensor"),
    ("from utils.gcp import gke_command\nx = gke_command(task_id='x')\n", 1, "utils.gcp.gke_command is gone"),
    ("from utils.gcp import *\n", 0, "Import names one by one"),
    ("from . import x\n", 0, "modules in full"),
    ("x = 1; from utils.gcp import bigquery_etl_query\n", 0, "An import that shares its line"),
    ("x = open('/etc/passwd')\n", 0, "open is neither imported nor assigned"),
    ("x = bigquery_bigeye_check(task_id='x')\n", 0, "bigquery_bigeye_check is neither imported nor assigned"),
    ("x = datetime.datetime.now()\n", 0, "unknown call: datetime.datetime.now"),
    ("x = k8s.V1Pod()\n", 0, "unknown call: k8s.V1Pod"),
    ("from airflow.operators.python import PythonOperator\nx = PythonOperator(task_id='x')\n", 1, "unknown call"),
    ("while True:\n    pass\n", 0, "A loop is not known"),
    ("for x in []:\n    pass\n", 0, "A loop is not known"),
    ("if True:\n    pass\n", 0, "A condition is not known"),
    ("def f():\n    pass\n", 0, "A function is not known"),
    ("class C:\n    pass\n", 0, "A class is not known"),
    ("try:\n    pass\nfinally:\n    pass\n", 0, "try is not known"),
    ("x = [0] * 10**10\n", 0, "Arithmetic other than +"),
    ("x = [y for y in []]\n", 0, "A comprehension"),
    ("x = lambda: 0\n", 0, "A lambda"),
    ("x = 1 if True else 2\n", 0, "A condition"),
    ("x = b'bytes'\n", 0, "A constant of this type"),
    ("x = {**{}}\n", 0, "Keys of a dict"),
    ("x = [*[]]\n", 0, "A starred value"),
    ("x = ALLOWED_STATES[0]\n", 0, "A subscript"),
    ("x = y\n", 0, "y is neither imported nor assigned"),
    ("x, y = 1, 2\n", 0, "anything but one name"),
    ("x: int = 1\n", 0, "annotated"),
    ("datetime = 1\n", 0, "datetime is datetime above"),
    ("x = datetime.datetime.max\n", 0, "unknown: datetime.datetime.max"),
    ("x = EmptyOperator.template_fields\n", 0, "unknown: EmptyOperator.template_fields"),
    ("with open('x'):\n    pass\n", 0, "`with` is known of DAG and TaskGroup only"),
    ("print('x')\n", 0, "print is neither imported nor assigned"),
    ("datetime.timedelta(1)\n", 0, "can't stand here: it is a value"),
    ("x = [EmptyOperator(task_id='x')]\n", 0, "can't stand here: it is a task"),
    ("x = EmptyOperator('x')\n", 0, "takes no arguments without a name"),
    ("x = EmptyOperator(**{})\n", 0, "with * or ** can't be checked"),
    ("nothing.set_upstream([])\n", 0, "nothing is neither imported nor assigned"),
    ("x = EmptyOperator(task_id='x')\nx.set_upstream(EmptyOperator)\n", 1, "not a task of this file"),
    ("x = EmptyOperator(task_id='x')\nx.set_upstream(lambda: x)\n", 1, "between names of tasks"),
    ("x = EmptyOperator(task_id='x')\nx >> y\n", 1, "y is neither"),
    (
        TASK.format("destination_tabel='t'"),
        0,
        "unknown keyword of bigquery_etl_query: destination_tabel. It takes: annotations",
    ),
    (TASK.format("sla=None"), 0, "Airflow 3 has no SLAs"),
    (TASK.format("on_failure_callback=None"), 0, "Generated files hold data"),
    ("x = ExternalTaskSensor(task_id='x', execution_date_fn=None)\n", 0, "Give execution_delta"),
    (TASK.format("task_concurrency=1, max_active_tis_per_dag=1"), 0, "gets max_active_tis_per_dag twice"),
    (POD.format("is_delete_operator_pod=ALLOWED_STATES"), 0, "is known with True and False only"),
    (TASK.format("trigger_rule='sometimes'"), 0, "unknown trigger rule: sometimes"),
    (TASK.format("retries='two'"), 0, "retries must be a whole number, not 'two'"),
    (TASK.format("retry_delay='5m'"), 0, "retry_delay must be a duration"),
    (TASK.format("retry_delay=datetime.datetime(2020, 1, 1)"), 0, "retry_delay must be a duration"),
    (TASK.format("depends_on_past='yes'"), 0, "depends_on_past must be True or False"),
    (TASK.format("arguments='--a'"), 0, "arguments must be a list"),
    (TASK.format("dataset_id=5"), 0, "dataset_id must be a text"),
    (TASK.format("start_date='2020-01-01'"), 0, "start_date must be a date"),
    (TASK.format("node_selector=[]"), 0, "node_selector must be a dict"),
    ('d = DAG("d", schedule="@fortnightly", catchup=True)\n', 0, "unknown schedule: @fortnightly"),
    (
        'd = DAG("d", schedule=None, catchup=True, default_args={"emails": []})\n',
        0,
        "unknown key of default_args: emails",
    ),
    ('d = DAG("d", schedule=None, catchup=True, default_args={"retries": "2"})\n', 0, "retries must be a whole number"),
    (
        "args = []\nd = DAG('d', schedule=None, catchup=True, default_args=args)\n",
        0,
        "default_args are known as a dict only",
    ),
    (TASK.format("arguments=['{{ no_such }}']"), 0, "unknown template variable no_such"),
    (TASK.format("arguments=['{{ prev_ds }}']"), 0, "macros.ds_add(ds, -1)"),
    (TASK.format("arguments=['{{ conf.get(1) }}']"), 0, "does not hand its configuration"),
    (TASK.format("arguments=['{{ macros.no_such(ds) }}']"), 0, "unknown in a template: macros.no_such"),
    (TASK.format("arguments=['{{ dag_run.is_backfill }}']"), 0, "dag_run.run_type == 'backfill'"),
    (TASK.format("arguments=['{{ dag_run[ds] }}']"), 0, "can't be checked"),
    (TASK.format("arguments=['{{ ds | no_such }}']"), 0, "No filter named 'no_such'"),
    (TASK.format("arguments=['{{ ds']"), 0, "the template can't be read"),
    (TASK.format("arguments=['{{ ' '}}']"), 0, "write a template in one piece"),
    (TASK.format("arguments=['{% include \"x\" %}']"), 0, "takes in another one"),
    (TASK.format("arguments=['{% set execution_date = 1 %}']"), 0, "sets execution_date"),
    ("n = 'x'\n" + TASK.format('arguments=[f"{{{{ {n} }}}}"]'), 1, "can't be part of a template"),
    ("n = 'x'\n" + TASK.format('arguments=[f"{n!r}"]'), 1, "plain names only"),
    (TASK.format('arguments=[f"{no_such}"]'), 0, "no_such is neither imported"),
]


@pytest.mark.parametrize(("text", "line", "reason"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_not_known_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    (problem,) = problems(IMPORTS + text)
    assert reason in problem.reason
    assert problem.line == AT + line
    assert problem.reason.rstrip().endswith((".", "`"))


def test_a_dag_without_a_schedule_needs_datetime_to_write_it_out() -> None:
    (problem,) = problems('from airflow import DAG\nd = DAG("d")\n')
    assert (problem.line, "no schedule" in problem.reason) == (2, True)
    assert "timedelta(days=1)" in run('from airflow import DAG\nfrom datetime import timedelta\nd = DAG("d")\n').text


def test_all_problems_are_told_not_only_the_first() -> None:
    found = problems(IMPORTS + "import requests\n" + TASK.format("a=1, b='{{ x }}'") + "while True: pass\n")
    assert [problem.line for problem in found] == [AT, AT + 1, AT + 1, AT + 2]


def test_a_refused_import_is_reported_once() -> None:
    found = problems("from no.such import thing\nx = thing(task_id='x')\ny = thing(task_id='y')\n")
    assert [problem.line for problem in found] == [1]


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        (b"x = (\n", 1, "This is no valid Python"),
        (b"x = 1\n  y = 2\n", 2, "unexpected indent"),
        (b"f(a=1, a=2)\n", 1, "keyword argument repeated"),
        (b"x = 1\nx = '\xff'\n", 2, "not UTF-8: byte 0xff"),
        (b"x = 1\n\0", 2, "NUL"),
        (b"\xef\xbb\xbfx = 1\n", 1, "utf-8-sig"),
        (b"# coding: latin-1\nx = 1\n", 1, "iso-8859-1"),
        (b"# coding: no-such\nx = 1\n", 1, "encoding can't be told"),
        (b"x = " + b"-" * 200 + b"1\n", 1, "deeper"),
        (b"x = " + b"+".join([b"1"] * 500) + b"\n", 1, "deeper"),
        (b"x = " + b"-" * 100_000 + b"1\n", None, "deeper"),
        (b"x = " + b"(" * 1000 + b")" * 1000 + b"\n", 1, "too many nested parentheses"),
    ],
)
def test_what_is_no_python_text_is_refused(source: bytes, line: int | None, reason: str) -> None:
    (problem,) = problems(source)
    assert problem.line == line
    assert reason in problem.reason


@pytest.mark.parametrize("source", [b"", b"\n", b"# only a comment", b'"""Doc."""\n', b"pass\n"])
def test_files_with_nothing_to_translate_stay(source: bytes) -> None:
    assert run(source) == Translation(source.decode(), ())


def test_errors_survive_a_process_boundary() -> None:
    with pytest.raises(TranslationError) as refused:
        translate(b"import requests\n", "a.py")
    copy = pickle.loads(pickle.dumps(refused.value))
    assert (copy.name, copy.problems, str(copy)) == ("a.py", refused.value.problems, str(refused.value))


def test_the_fingerprint_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint()
    assert before == fingerprint()
    module._fingerprint.cache_clear()
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + (b" " if path.name == "contract.py" else b""))
    try:
        assert fingerprint() != before
    finally:
        module._fingerprint.cache_clear()


def test_translating_needs_no_airflow() -> None:
    program = (
        "import sys\nfrom wtmo.imports.translate import translate\n"
        f"translate(open({str(GENERATED[0])!r}, 'rb').read(), 'f.py')\n"
        "sys.exit(any(name == 'airflow' or name.startswith('airflow.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_change_says_what_it_did() -> None:
    (change,) = body('d = DAG("d", schedule_interval=None, catchup=True)\n').changes
    assert change == Change("dag-schedule", AT, "schedule_interval= is schedule=")
