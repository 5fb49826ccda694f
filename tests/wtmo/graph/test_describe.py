"""What the sandbox tells of a file's DAGs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context
from kubernetes.client import Configuration, models

from utils.config import ROOT
from wtmo.errors import WtmoError
from wtmo.graph import describe
from wtmo.graph import inventory as library
from wtmo.graph.describe import templates
from wtmo.graph.inventory import Source, inventory
from wtmo.graph.model import File, PodSecret

if TYPE_CHECKING:
    from wtmo.graph.model import Dag, Task

NO_VALIDATION = Configuration()
NO_VALIDATION.client_side_validation = False

HEAD = """\
import datetime
from airflow.sdk import DAG, Asset, CronTriggerTimetable, DeltaTriggerTimetable, Param, task, task_group
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from operators.gcp_container_operator import GKEPodOperator
from utils.commands import shell
from utils.gcp import bigquery_dq_check, bigquery_etl_query
from utils.images import image
from utils.secrets import pod_secrets

START = datetime.datetime(2020, 1, 1)
"""
HEAD_LINES = HEAD.count("\n")


def dag(dag_id: str, *lines: str, schedule: str = '"0 3 * * *"', more: str = "") -> str:
    """A file with one DAG; its first task is on line ``HEAD_LINES + 2``."""
    head = f'with DAG("{dag_id}", schedule={schedule}, start_date=START, tags=["impact/tier_2"]{more}) as dag:'
    return HEAD + "\n".join([head, *(f"    {line}" for line in lines)]) + "\n"


POD = 'GKEPodOperator(task_id="pod", image=image("bq2sftp"), {})'
FILES = {
    "pod.py": dag(
        "pod",
        POD.format(
            'arguments=["{{ ds }}", 3, "{{ params.day }}"], env_vars={"DATE": "{{ ds_nodash }}"}, resources="small", '
            'secrets=pod_secrets("adm_export", "sftp_password")'
        ),
        schedule="None",
        more=', params={"day": Param(type="string", format="date")}',
    ),
    "templates.py": dag(
        "templates",
        POD.format(
            'arguments=["{{ execution_date }}", "a\\nb {{ 1 +", "{{ var.value.get(\'v\', 1) }} {{ conn.c.host }}", '
            '"{{ ti.xcom_pull(task_ids=\'x\')[\'a\'] }}", "{{ params.none }}", "{{ dag_run.external_trigger }}"]'
        ),
    ),
    "late.py": dag(
        "late",
        'GKEPodOperator(task_id="pod", image="x:1", **shell("a {{ ds }}", flags={"--p": ("p", "[a-z]+")}))',
        more=', params={"p": Param("abc", type="string")}',
    ),
    "waits.py": dag(
        "waits",
        'ExternalTaskSensor(task_id="same", external_dag_id="a", external_task_id="t")',
        'ExternalTaskSensor(task_id="delta", external_dag_id="a", external_task_group_id="g", execution_delta=datetime.timedelta(hours=-1))',
        'ExternalTaskSensor(task_id="function", external_dag_id="a", execution_date_fn=lambda date: date.replace(day=1))',
        'ExternalTaskSensor(task_id="fails", external_dag_id="a", execution_date_fn=lambda date: 1 / 0)',
        'ExternalTaskSensor(task_id="shifts", external_dag_id="a", execution_date_fn=lambda date: date - datetime.timedelta(days=1))',
        'ExternalTaskMarker(task_id="marker", external_dag_id="b", external_task_id="t", '
        'logical_date="{{ (logical_date - macros.timedelta(hours=2)).isoformat() }}")',
        'ExternalTaskMarker(task_id="plain", external_dag_id="b", external_task_id="t")',
        'ExternalTaskSensor(task_id="named", external_dag_id="a_{{ ds_nodash }}")',
    ),
    "mapped.py": dag(
        "mapped",
        "@task",
        "def made(): return [1]",
        "@task",
        "def used(x): return x",
        "used.expand(x=made())",
        'GKEPodOperator.partial(task_id="pods", image=image("bq2sftp"), name="{{ ds }}").expand(arguments=[["a"]])',
        'GKEPodOperator(task_id="late", image="x:1", arguments=made())',
        'GKEPodOperator(task_id="later", image="x:1", env_vars=made(), trigger_kwargs=made())',
        'GKEPodOperator(task_id="latest", image=made())',
        'GKEPodOperator.partial(task_id="words", image="x:1").expand(arguments=made.override(task_id="words_of")(), env_vars=[{"A": "1"}, {"A": 2}])',
        'GKEPodOperator.partial(task_id="each", image="x:1").expand(arguments=made().map(lambda each: [each]))',
        'GKEPodOperator.partial(task_id="env", image="x:1", arguments=["{{ ds }}"]).expand(env_vars=made())',
        'GKEPodOperator.partial(task_id="size", image="x:1").expand(container_resources=made())',
        'GKEPodOperator.partial(task_id="listed").expand_kwargs([{"image": "x:1"}, {"image": "y:1", "name": "n"}, made()])',
        'GKEPodOperator.partial(task_id="any", image="x:1").expand_kwargs(made())',
        'GKEPodOperator.partial(task_id="none", image="x:1").expand(arguments=[])',
        'GKEPodOperator.partial(task_id="many", image="x:1").expand(arguments={str(n): "n" for n in range(99)})',
        'GKEPodOperator.partial(task_id="wrong", image="x:1").expand(security=["strict", "default"])',
        "@task_group",
        "def group(given):",
        '    GKEPodOperator(task_id="pod", image="x:1", arguments=["a", given], env_vars={"A": given})',
        'group.override(group_id="of_a_task").expand(given=made.override(task_id="lines")())',
        'group.override(group_id="of_a_list").expand(given=["p", "q"])',
        'group.override(group_id="of_nothing").expand(given=[])',
        'group.override(group_id="of_kwargs").expand_kwargs([{"given": "r"}])',
        'group.override(group_id="of_any").expand_kwargs(made.override(task_id="rows")())',
    ),
    "queries.py": dag(
        "queries",
        'bigquery_etl_query(task_id="query", destination_table="t_v1", dataset_id="d", project_id="p-p", parameters=["a:INT64:1"])',
        'bigquery_etl_query(task_id="native", destination_table="t_v1", dataset_id="q:d", project_id="p-p", engine="native")',
        'bigquery_dq_check(task_id="check", source_table="t_v1", dataset_id="d", project_id="p-p")',
        'bigquery_dq_check(task_id="odd", source_table="t_v1", dataset_id="d", project_id="p-p", arguments=["--odd"])',
    ),
    "starts.py": dag(
        "starts",
        'TriggerDagRunOperator(task_id="start", trigger_dag_id="pod")',
        'EmptyOperator(task_id="writes", outlets=[Asset("s3://a")])',
        more=', default_args={"emails": "x", "retries": 1}',
    ),
    "by_asset.py": dag("by_asset", 'EmptyOperator(task_id="t")', schedule='[Asset("s3://a")]'),
    "hourly.py": dag("hourly", 'EmptyOperator(task_id="t")', schedule='"@hourly"'),
    "weeks.py": dag("weeks", 'EmptyOperator(task_id="t")', schedule="datetime.timedelta(days=28)"),
    "triggers.py": dag(
        "triggers", 'EmptyOperator(task_id="t")', schedule="DeltaTriggerTimetable(datetime.timedelta(days=1))"
    ),
    "intervals.py": dag(
        "intervals",
        'EmptyOperator(task_id="t")',
        schedule='CronTriggerTimetable("0 3 * * *", timezone="UTC", interval=datetime.timedelta(days=1))',
    ),
    "once.py": dag(
        "once",
        'ExternalTaskSensor(task_id="function", external_dag_id="a", execution_date_fn=lambda date: date.replace(day=2))',
        schedule='"@once"',
    ),
    "by_hand.py": dag("by_hand", 'EmptyOperator(task_id="t")', schedule="None"),
    # refused
    "syntax.py": HEAD + "with DAG(\n",
    "imports.py": HEAD + "import not_there\n",
    "none.py": HEAD,
    "twice.py": dag("twice", 'EmptyOperator(task_id="t")', 'EmptyOperator(task_id="t")'),
    "cycle.py": dag("cycle", 'a = EmptyOperator(task_id="a")', 'b = EmptyOperator(task_id="b")', "a >> b >> a"),
    "clock.py": dag("clock", 'EmptyOperator(task_id="a")', more=", end_date=datetime.datetime.now()"),
    "dies.py": dag("dies", "import os; os._exit(0)"),
    "variable.py": dag(
        "variable",
        "from airflow.sdk import Variable",
        "try: Variable.get('v', default=None)",
        "except Exception: pass",
        'EmptyOperator(task_id="t")',
    ),
    "connection.py": dag("connection", "from airflow.sdk import BaseHook", "BaseHook.get_connection('c')"),
    "session.py": dag(
        "session",
        "from airflow.utils.session import create_session",
        "try:\n        create_session().__enter__()",
        "except Exception: pass",
        'EmptyOperator(task_id="t")',
    ),
    "network.py": dag(
        "network",
        "import urllib.request",
        "try: urllib.request.urlopen('http://192.0.2.1')",
        "except Exception: pass",
        'EmptyOperator(task_id="t")',
    ),
    "sock.py": dag(
        "sock", "import socket", "try: socket.socket()", "except OSError: pass", 'EmptyOperator(task_id="t")'
    ),
    "process.py": dag(
        "process",
        "import subprocess",
        "try: subprocess.run(['true'])",
        "except OSError: pass",
        'EmptyOperator(task_id="t")',
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, File]:
    root = tmp_path_factory.mktemp("bundle")
    for name, text in FILES.items():
        (root / name).write_text(text)
    found = inventory([Source("b", root)], cache=None)
    assert [file.name for file in found.files] == sorted(FILES)
    return {file.name: file for file in found.files}


def the_dag(files: dict[str, File], name: str) -> Dag:
    file = files[f"{name}.py"]
    assert file.refused is None, file.refused
    return file.dags[0]


def the_task(files: dict[str, File], name: str, task_id: str) -> Task:
    return the_dag(files, name).by_id[task_id]


def test_what_is_told_survives_json(files: dict[str, File]) -> None:
    for file in files.values():
        assert File.from_json(file.to_json()) == file
    with pytest.raises(TypeError):
        File.from_json({"bundle": "b", "name": 3})
    with pytest.raises(TypeError):
        File.from_json({"bundle": "b", "name": "n", "dags": [{"dag_id": "a", "bundle": "b", "file": "f", "tags": "x"}]})


def test_a_pod_is_what_goes_to_kubernetes(files: dict[str, File]) -> None:
    task = the_task(files, "pod", "pod")
    assert task.pod_error is None
    assert task.pod is not None
    container = task.pod["spec"]["containers"][0]
    assert container["args"] == ["2026-06-01", 3, "2026-06-01"]
    assert {"name": "DATE", "value": "20260601"} in container["env"]
    assert container["resources"]["requests"]
    assert task.pod["metadata"]["name"] == "pod"
    assert task.pod["metadata"]["namespace"] == "default"
    assert "workflow.telemetry.mozilla.org/task-instance" not in task.pod["metadata"]["annotations"]
    assert task.pod["metadata"]["labels"]["airflow-tier"] == "tier_2"
    assert task.secrets == (
        PodSecret("airflow-gke-restricted-secrets", "adm_export_secret__sftp_password", "SFTP_PASSWORD", "env"),
    )
    assert task.image == ("bq2sftp", container["image"])
    assert task.line == HEAD_LINES + 2
    assert the_dag(files, "pod").line == HEAD_LINES + 1
    assert task.attributes["arguments"] == ["{{ ds }}", 3, "{{ params.day }}"], "as written"
    assert task.is_a("KubernetesPodOperator")
    assert [(each.field, each.rendered, each.names) for each in task.templates] == [
        ("arguments[0]", "2026-06-01", ("ds",)),
        ("arguments[2]", "2026-06-01", ("params.day",)),
        ("env_vars.DATE", "20260601", ("ds_nodash",)),
    ]
    assert "value" not in the_dag(files, "pod").params["day"]


def test_templates_that_fail_say_why(files: dict[str, File]) -> None:
    task = the_task(files, "templates", "pod")
    by_field = {each.field: each for each in task.templates}
    assert "'execution_date' is undefined" in (by_field["arguments[0]"].error or "")
    assert by_field["arguments[0]"].line == 1
    assert by_field["arguments[1]"].line == 2
    assert by_field["arguments[1]"].rendered is None
    assert by_field["arguments[2]"].rendered == "1 <conn.c.host>"
    assert by_field["arguments[2]"].names == ("conn.c.host", "var.value.v")
    assert by_field["arguments[3]"].rendered == "<ti.xcom_pull('x')['a']>"
    assert "no attribute 'none'" in (by_field["arguments[4]"].error or "")
    assert "'dag_run object' has no attribute 'external_trigger'" in (by_field["arguments[5]"].error or "")
    assert task.pod is None
    assert "execution_date" in (task.pod_error or "")
    assert task.variables == ("v",)
    assert "c" in task.connections
    assert "google_cloud_airflow_gke" in task.connections
    assert task.rendered["arguments"] is None
    assert task.rendered["cmds"] in (None, [])


def test_functions_in_a_field_are_called(files: dict[str, File]) -> None:
    task = the_task(files, "late", "pod")
    assert task.rendered["cmds"] == ["bash", "-c"]
    assert task.rendered["arguments"] == ["a 2026-06-01 --p=abc"]
    assert [(each.field, each.names) for each in task.templates] == [("arguments.script", ("ds",))]
    assert task.attributes["cmds"] == {"Late": {"words": ["bash", "-c"]}}


def test_waits_map_dates(files: dict[str, File]) -> None:
    of = {task.task_id: task for task in the_dag(files, "waits").tasks}
    waits = {name: task.waits for name, task in of.items()}
    same, delta, function = waits["same"], waits["delta"], waits["function"]
    assert same is not None and delta is not None and function is not None
    assert (same.of_dag, same.of_tasks, same.of_group, same.how, same.delta) == ("a", ("t",), None, "same", 0.0)
    assert (delta.of_tasks, delta.of_group, delta.how, delta.delta) == ((), "g", "delta", -3600.0)
    assert (function.how, function.delta, len(function.dates)) == ("function", None, 365)
    assert function.dates[1] == ("2026-06-02T03:00:00+00:00", ("2026-06-01T03:00:00+00:00",))
    assert "division by zero" in (waits["fails"].error if waits["fails"] else "" or "")
    assert waits["shifts"] is not None and (waits["shifts"].delta, waits["shifts"].dates) == (86400.0, ())
    assert waits["marker"] is not None and (waits["marker"].how, waits["marker"].delta) == ("template", 7200.0)
    assert of["marker"].marker
    assert not of["same"].marker
    assert waits["plain"] is not None and (waits["plain"].how, waits["plain"].delta) == ("same", 0.0)
    assert waits["named"] is not None and waits["named"].of_dag == "a_20260601"
    once = the_task(files, "once", "function").waits
    assert once is not None and (once.delta, once.dates) == (-86400.0, ()), "of its one run, that of 2020-01-01"


def test_mapped_tasks_are_told_as_far_as_they_can_be(files: dict[str, File]) -> None:
    of = the_dag(files, "mapped").by_id
    assert of["used"].mapped
    assert of["used"].calls == "mapped.used"
    assert of["used"].upstream == ("made",)
    assert not of["made"].mapped
    assert of["pods"].mapped
    assert of["pods"].image == ("bq2sftp", of["pods"].attributes["image"])
    assert [each.rendered for each in of["pods"].templates] == ["2026-06-01"]
    assert command(of["pods"]) == ["a"]
    assert of["late"].pod is not None
    assert of["late"].pod["spec"]["containers"][0]["args"] == ["<ti.xcom_pull('made__1')>"]


def command(task: Task) -> list[Any]:
    assert task.pod is not None, task.pod_error
    return list(task.pod["spec"]["containers"][0]["args"])


def test_pods_are_told_by_instance_as_far_as_the_file_says_them(files: dict[str, File]) -> None:
    of = the_dag(files, "mapped").by_id
    words = of["words"]
    assert words.unknown == ()
    assert [command(each) for each in (words, *words.instances)] == [["<ti.xcom_pull('words_of')[..]>"]] * 2
    assert [each.rendered["env_vars"][0]["value"] for each in (words, *words.instances)] == ["1", 2]
    assert command(of["each"]) == ["<MapXComArg[..]>"]
    assert [each.image for each in (of["listed"], *of["listed"].instances)] == [(None, "x:1"), (None, "y:1")]
    assert (of["none"].pod, of["none"].pod_error, of["none"].unknown) == (None, None, ())
    assert [command(each)[0] for each in (of["many"], *of["many"].instances)] == [*map(str, range(49)), "98"]
    assert "security='strict' is not known" in (of["wrong"].pod_error or "")
    assert [each.pod is not None for each in of["wrong"].instances] == [True]


def test_what_of_a_pod_only_a_run_has_is_named(files: dict[str, File]) -> None:
    of = the_dag(files, "mapped").by_id
    unknown = {name: task.unknown for name, task in of.items() if task.unknown}
    assert unknown == {
        "later": ("env_vars",),
        "latest": ("image",),
        "env": ("env_vars",),
        "size": ("container_resources",),
        "listed": ("expand_kwargs",),
        "any": ("expand_kwargs",),
    }
    made = {name for name in unknown if of[name].pod is not None}
    assert made == {"later", "env", "listed"}, "the others can't be without it"
    assert not [name for name, task in of.items() if task.pod_error and name != "wrong"]
    assert (of["latest"].image, of["size"].image) == (None, (None, "x:1"))
    assert command(of["env"]) == ["2026-06-01"]


@pytest.mark.parametrize(
    ("group", "given"),
    [
        ("of_a_task", "<ti.xcom_pull('lines')[..]>"),
        ("of_a_list", "p"),
        ("of_nothing", "<given>"),
        ("of_kwargs", "r"),
        ("of_any", "<ti.xcom_pull('rows')[..]['given']>"),
    ],
)
def test_pods_of_a_mapped_group_get_what_its_first_instance_gets(
    files: dict[str, File], group: str, given: str
) -> None:
    pod = the_task(files, "mapped", f"{group}.pod")
    assert (command(pod), pod.unknown) == (["a", given], ())
    assert pod.pod is not None
    assert {"name": "A", "value": given} in pod.pod["spec"]["containers"][0]["env"]


def test_query_tasks(files: dict[str, File]) -> None:
    of = {name: task.query for name, task in the_dag(files, "queries").by_id.items()}
    query, native, check, odd = of["query"], of["native"], of["check"], of["odd"]
    assert query is not None and native is not None and check is not None and odd is not None
    assert (query.engine, query.file, query.destination) == ("pod", "sql/p-p/d/t_v1/query.sql", "p-p.d.t_v1$20260601")
    assert query.parameters == ("a:INT64:1", "submission_date:DATE:2026-06-01")
    assert (query.project, query.dataset) == ("p-p", "p-p.d")
    assert (native.engine, native.destination, native.project) == ("native", "q.d.t_v1$20260601", "p-p")
    assert (check.file, check.destination) == ("sql/p-p/d/t_v1/checks.sql", None)
    assert "--odd" in (odd.error or "")


def test_a_dag_says_when_it_runs(files: dict[str, File]) -> None:
    hourly, weeks, by_hand = (the_dag(files, name) for name in ("hourly", "weeks", "by_hand"))
    assert len(hourly.fires) == 365 * 24 + 1
    assert hourly.fires[0] == (
        "2026-06-01T00:00:00+00:00",
        "2026-06-01T00:00:00+00:00",
        "2026-06-01T01:00:00+00:00",
    )
    assert len({fire[0] for fire in hourly.fires}) == len(hourly.fires)
    # 2020-01-01 and 84 times 28 days.
    assert [fire[0][:10] for fire in weeks.fires[:2]] == ["2026-06-10", "2026-07-08"]
    assert (by_hand.fires, by_hand.run and by_hand.run.started) == ((), True)
    # All of the year, also of timetables that name a run after the end of its interval, or count the year by that.
    for name, last, number in (("triggers", "2027-06-01", 366), ("intervals", "2027-05-31", 365)):
        dates = [fire[0][:10] for fire in the_dag(files, name).fires]
        assert (dates[0], dates[-1], len(dates)) == ("2026-06-01", last, number)
    run = the_dag(files, "late").run
    assert run is not None
    assert (run.logical, run.start, run.started) == ("2026-06-01T03:00:00+00:00", "2026-06-01T03:00:00+00:00", False)


def test_starts_assets_and_default_args(files: dict[str, File]) -> None:
    dag = the_dag(files, "starts")
    assert dag.by_id["start"].starts == "pod"
    assert dag.unknown_default_args == ("emails",)
    assert the_dag(files, "by_asset").schedule["assets"] == [{"name": "s3://a", "uri": "s3://a/"}]
    assert dag.by_id["writes"].attributes["outlets"][0]["Asset"]["uri"].startswith("s3://a")


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        ("syntax", "syntax", HEAD_LINES + 1),
        ("imports", "import", HEAD_LINES + 1),
        ("none", "empty", None),
        ("twice", "duplicate", HEAD_LINES + 3),
        ("cycle", "cycle", None),
        ("clock", "dynamic", HEAD_LINES + 1),
        ("dies", "died", HEAD_LINES + 2),
        ("variable", "touched", HEAD_LINES + 3),
        ("connection", "touched", HEAD_LINES + 3),
        ("session", "touched", HEAD_LINES + 4),
        ("network", "touched", HEAD_LINES + 3),
        ("sock", "touched", HEAD_LINES + 3),
        ("process", "touched", HEAD_LINES + 3),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused(
    files: dict[str, File], name: str, kind: str, line: int | None
) -> None:
    file = files[f"{name}.py"]
    assert (file.refused_kind, file.dags) == (kind, ()), file.refused
    assert file.refused
    if line is not None:
        assert file.line == line


def test_an_empty_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WtmoError, match="no DAG file"):
        inventory([Source("b", tmp_path)], cache=None)
    with pytest.raises(WtmoError, match="no folder"):
        inventory([Source("b", tmp_path / "none")], cache=None)
    with pytest.raises(WtmoError, match="no DAG file"):
        inventory([], cache=None)


def test_another_tree_gives_its_own_shared_modules(tmp_path: Path) -> None:
    tree, root = tmp_path / "tree", tmp_path / "dags"
    for name in ("operators", "utils", "config", "plugins"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    images = tree / "utils" / "images.py"
    images.write_text(images.read_text() + '\nIMAGES["other"] = Image("other", "there/other", None, tag="1")\n')
    (tree / "wtmo").mkdir()
    (tree / "wtmo" / "__init__.py").write_text("raise RuntimeError('the tool is this one')\n")
    root.mkdir()
    (root / "a.py").write_text(dag("a", 'GKEPodOperator(task_id="pod", image=image("other"))'))
    (theirs,) = inventory([Source("b", root, tree)], cache=None).files
    assert theirs.refused is None, theirs.refused
    assert theirs.dags[0].tasks[0].image == ("other", "there/other:1")


def test_nested_fields_are_those_that_the_provider_renders() -> None:
    rendered: dict[str, tuple[str, ...]] = {}

    class Recorder(KubernetesPodOperator):
        def _do_render_template_fields(self, parent: Any, template_fields: Any, *_: Any) -> None:
            rendered[type(parent).__name__] = template_fields

    operator = Recorder(task_id="pod")
    for name in dir(models):
        if name.startswith("V1") and isinstance(kind := getattr(models, name), type):
            model = kind(local_vars_configuration=NO_VALIDATION)
            operator._render_nested_template_fields(model, Context(), jinja2.Environment(autoescape=True), set())
    assert rendered == templates.NESTED


def test_what_is_remembered_goes_by_the_code_that_told_it() -> None:
    hashed = {name: ROOT / name for name in library._OF_TOOL}
    for name, path in hashed.items():
        assert path.exists(), f"{name} is part of the fingerprint and is gone"
    assert {Path(each) for each in describe.__path__} <= set(hashed.values())
