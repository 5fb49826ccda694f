"""Cases of sensors, templates, pods, declared things, commands and parameters: see :mod:`tests.wtmo.checks.corpus`."""

from __future__ import annotations

from tests.wtmo.checks.corpus import Case, Edit

PICK = "telemetry-airflow/collection/pick.py"
PRESS = "telemetry-airflow/etl/press.py"
BOTTLES = "telemetry-airflow/etl/bottles.py"
RELABEL = "telemetry-airflow/operations/relabel.py"
MARKET = "telemetry-airflow/reverse_etl/market.py"
ORCHARD = "bigquery-etl/bqetl_orchard.py"
CELLAR = "bigquery-etl/bqetl_cellar.py"
PORTS = "telemetry-airflow/reverse_etl/ports.py"

_TAGS = "from utils.tags import Tag\n"
_ASSET = ("from airflow.sdk import DAG\n", "from airflow.sdk import DAG, Asset\n")
_SENSOR = 'wait_for("pick", "apples", delta=timedelta(hours=2))'
_JUICE = 'arguments=["press", "--date={{ ds }}"],'
_RELABEL = 'arguments=["label", "--day={{ params.day }}", "--bottles={{ params.bottles }}"],'
_DAY = '"day": Param("2026-06-01", type="string", format="date"),'


def _imports(line: str) -> Edit:
    """An import more."""
    return _TAGS, f"{line}\n{_TAGS}"


def _waits(call: str) -> dict[str, Edit]:
    """``press`` with another sensor."""
    return {PRESS: (_SENSOR, call)}


def _juice(argument: str) -> dict[str, Edit]:
    """``press`` with other arguments of its pod; more keywords may follow."""
    return {PRESS: (_JUICE, argument)}


def _marks(marker: str) -> dict[str, list[Edit]]:
    """``press`` with a marker of the weekly DAG that waits for it."""
    return {
        PRESS: [
            (f"{_SENSOR} >> GKEPodOperator(", "juice = GKEPodOperator("),
            (
                '        resources="small",\n    )\n',
                f'        resources="small",\n    )\n    {_SENSOR} >> juice >> {marker}\n',
            ),
            _imports("from airflow.providers.standard.sensors.external_task import ExternalTaskMarker"),
        ]
    }


_MARKER = 'ExternalTaskMarker(task_id="m", external_dag_id="market_north", external_task_id="wait_for_juice"{})'


def _word(word: str) -> dict[str, Edit]:
    """``press`` with another word in its command, as Python writes it."""
    return _juice(f'arguments=["press", {word}],')


def _with(more: str, *imports: str) -> dict[str, list[Edit]]:
    """``press`` with another keyword of its pod."""
    return {PRESS: [(_JUICE, f"{_JUICE}\n        {more}"), *([_imports("\n".join(imports))] if imports else [])]}


def _mapped(expanded: str, *imports: str, shared: str = 'image=image("jetstream")') -> dict[str, list[Edit]]:
    """``press`` with a pod that is expanded."""
    return {
        PRESS: [
            ("GKEPodOperator(\n", "GKEPodOperator.partial(\n"),
            ('image=image("jetstream"),\n', f"{shared},\n"),
            (f'        {_JUICE}\n        resources="small",\n    )', f"    ).{expanded}"),
            *([_imports("\n".join(imports))] if imports else []),
        ]
    }


_OF_A_TASK = 'wait_for("pick", "apples", delta=timedelta(hours=2), task_id="w").output'


def _script(script: str, *, program: str = '"sh", "-c"') -> dict[str, Edit]:
    """``press`` in a shell."""
    return _juice(f"cmds=[{program}],\n        arguments=[{script}],")


def _relabel(arguments: str, *params: str) -> dict[str, list[Edit]]:
    """``relabel`` with another command and more parameters."""
    return {RELABEL: [(_RELABEL, arguments), (_DAY, "\n        ".join([_DAY, *params]))]}


_MODELS = "from kubernetes.client import V1EnvVar, V1ResourceRequirements, V1Volume, V1VolumeMount"
_RAW_SECRET = "from airflow.providers.cncf.kubernetes.secret import Secret"
_PLAIN_SENSOR = "from airflow.providers.standard.sensors.external_task import ExternalTaskSensor"


def _ports(zones: tuple[str, str], hours: int) -> str:
    """Two DAGs at three and four o'clock of their time zones; the second waits for the first."""
    return f'''"""Ship juice from two ports.

## Where the data comes from and goes

Nowhere.

## When it fails

Clear it.

## How to re-run it

Clear it.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

for port, clock, zone in (("harbour", 3, "{zones[0]}"), ("beach", 4, "{zones[1]}")):
    with DAG(
        f"ports_{{port}}",
        doc_md=__doc__,
        schedule=f"0 {{clock}} * * *",
        start_date=pendulum.datetime(2024, 1, 1, tz=zone),
        default_args=default_args(owner="ads"),
        tags=[Tag.ImpactTier.tier_3],
    ):
        ship = GKEPodOperator(task_id="ship", image=image("jetstream"), arguments=["ship"], resources="small")
        if port == "beach":
            wait_for("ports_harbour", "ship", delta=timedelta(hours={hours})) >> ship
'''


def _ports_once(shift: str) -> str:
    """The same two DAGs, which run once: on the third and on the fourth of January."""
    return (
        _ports(("UTC", "UTC"), 0)
        .replace("delta=timedelta(hours=0)", shift)
        .replace('schedule=f"0 {clock} * * *"', 'schedule="@once"')
        .replace("pendulum.datetime(2024, 1, 1, tz=zone)", "pendulum.datetime(2024, 1, clock, tz=zone)")
    )


_SENSORS = [
    Case("a sensor's DAG is misspelt", _waits(_SENSOR.replace('"pick"', '"pikc"')), ("SEN001",)),
    Case("the DAG waited for was deleted", {PICK: None}, ("SEN001",)),
    Case("a weekly sensor's DAG is misspelt", {MARKET: ('wait_for("press"', 'wait_for("presses"')}, ("SEN001",)),
    Case("a sensor's task is misspelt", _waits(_SENSOR.replace('"apples"', '"aples"')), ("SEN002",)),
    Case(
        "a sensor's task is named as in another group",
        _waits(_SENSOR.replace('"apples"', '"fruit.apples", task_id="w"')),
        ("SEN002",),
    ),
    Case("the task waited for was renamed", {PICK: ('task_id="apples"', 'task_id="red_apples"')}, ("SEN002",)),
    Case(
        "a sensor's task group is misspelt",
        _waits('wait_for("pick", None, delta=timedelta(hours=2), external_task_group_id="apples_extern")'),
        ("SEN002",),
    ),
    Case(
        "an imported sensor's task is misspelt",
        {ORCHARD: ('external_task_id="apples"', 'external_task_id="apple"')},
        ("SEN002",),
    ),
    Case("a shift is forgotten", _waits('wait_for("pick", "apples")'), ("SEN003",)),
    Case("a shift has the wrong sign", _waits(_SENSOR.replace("hours=2", "hours=-2")), ("SEN003",)),
    Case("a shift is five minutes off", _waits(_SENSOR.replace("hours=2", "hours=2, minutes=5")), ("SEN003",)),
    Case("the DAG waited for runs half an hour later", {PICK: ('"0 1 * * *"', '"30 1 * * *"')}, ("SEN003",)),
    Case("the DAG waited for rests on weekends", {PICK: ('"0 1 * * *"', '"0 1 * * 1-5"')}, ("SEN003",)),
    Case(
        "the DAG waited for ends in autumn",
        {PICK: ("datetime(2024, 1, 1),", "datetime(2024, 1, 1),\n    end_date=datetime(2026, 9, 1),")},
        ("SEN003",),
    ),
    Case(
        "an imported sensor lost its shift",
        {ORCHARD: ("        execution_delta=datetime.timedelta(seconds=3600),\n", "")},
        ("SEN003",),
    ),
    Case("a shift is right in summer only", {PORTS: _ports(("UTC", "America/New_York"), 5)}, ("SEN003",)),
    Case("the DAG waited for runs once a year", {PICK: ('"0 1 * * *"', '"0 1 1 6 *"')}, ("SEN003",)),
    Case("the DAG waited for runs in leap years", {PICK: ('"0 1 * * *"', '"0 1 29 2 *"')}, ("SEN003",)),
    Case("the DAG waited for runs once", {PICK: ('"0 1 * * *"', '"@once"')}, ("SEN003",)),
    Case("two DAGs run once, a day apart", {PORTS: _ports_once("delta=timedelta()")}, ("SEN003",)),
    Case(
        "a function names another day than that of the one run",
        {PORTS: _ports_once("execution_date_fn=lambda date: date.replace(day=1)")},
        ("SEN003",),
    ),
    Case(
        "the DAG waited for has ended long ago",
        {PICK: ("datetime(2024, 1, 1),", "datetime(2024, 1, 1),\n    end_date=datetime(2025, 9, 1),")},
        ("SEN003",),
    ),
    Case(
        "a weekly DAG waits for the daily run of its own date",
        {MARKET: (", delta=timedelta(days=-6)", "")},
        ("SEN004",),
    ),
    Case(
        "a monthly DAG waits for the daily run of its own date",
        {MARKET: [(", delta=timedelta(days=-6)", ""), ('"0 3 * * 1"', '"0 3 1 * *"')]},
        ("SEN004",),
    ),
    Case(
        "a daily DAG waits for the hourly run of two hours before",
        _waits('wait_for("bottles", "orchard_derived__bottles__v1", delta=timedelta(hours=2))'),
        ("SEN004",),
    ),
    Case(
        "a DAG that is started by hand waits",
        {
            RELABEL: [
                _imports("from operators.external_task import wait_for"),
                ("label >> Trigger", 'wait_for("pick", "apples") >> label >> Trigger'),
            ]
        },
        ("SEN005",),
    ),
    Case("a DAG with a sensor lost its schedule", {MARKET: ('schedule="0 3 * * 1"', "schedule=None")}, ("SEN005",)),
    Case("the DAG waited for lost its schedule", {PICK: ('schedule="0 1 * * *"', "schedule=None")}, ("SEN006",)),
    Case(
        "a DAG catches up from before the other's start",
        {PRESS: ("start_date=datetime(2024, 1, 1)", "catchup=True,\n    start_date=datetime(2023, 1, 1)")},
        ("SEN007",),
    ),
    Case(
        "a function of the date fails",
        _waits('wait_for("pick", "apples", execution_date_fn=lambda date: date.earlier(hours=2))'),
        ("SEN008",),
    ),
    Case("a sensor waits for days", _waits(_SENSOR.replace(")", "), timeout=timedelta(days=3)", 1)), ("SEN009",)),
    Case(
        "a sensor has Airflow's own timeout",
        {
            PRESS: [
                (
                    _SENSOR,
                    'ExternalTaskSensor(task_id="w", external_dag_id="pick", external_task_id="apples", '
                    'execution_delta=timedelta(hours=2), deferrable=True, pool="DATA_ENG_EXTERNALTASKSENSOR")',
                ),
                _imports(_PLAIN_SENSOR),
            ]
        },
        ("SEN009",),
    ),
    Case("a marker's task has another name", {PICK: ('"wait_for_apples"', '"wait_for_apple"')}, ("SEN010",)),
    Case("a marker's DAG is misspelt", {PICK: ('{"bqetl_orchard"', '{"bqetl_orchid"')}, ("SEN010",)),
    Case("a marker's DAG was deleted", {CELLAR: None}, ("SEN010",)),
    Case(
        "a marker points to a task that waits for nothing",
        {PICK: ('"wait_for_apples"', '"orchard_derived__cider__v1"')},
        ("SEN011",),
    ),
    Case(
        "a marker points to a sensor on another DAG",
        {PICK: ('{"bqetl_orchard": "wait_for_apples"}', '{"bqetl_cellar": "wait_for_orchard_derived__cider__v1"}')},
        ("SEN011",),
    ),
    Case(
        "a marker is behind another task than the one waited for",
        {PICK: [("    apples >> pears\n", ""), ("mark(apples,", "mark(pears,")]},
        ("SEN011",),
    ),
    Case(
        "a sensor waits for a DAG of a repository that is not at hand",
        _waits('wait_for("private_bqetl_cider", "pressed", delta=timedelta(hours=2))'),
        ("SEN012",),
    ),
    Case(
        "a marker points to a DAG of a repository that is not at hand",
        {PICK: ('{"bqetl_orchard"', '{"private_bqetl_orchard"')},
        ("SEN012",),
    ),
    Case(
        "a DAG is started that does not exist",
        {RELABEL: ('trigger_dag_id="press"', 'trigger_dag_id="pres"')},
        ("SEN013",),
    ),
    Case(
        "the DAG waited for is started by an asset",
        {PICK: [_ASSET, ('schedule="0 1 * * *"', 'schedule=[Asset("trees")]')]},
        ("SEN014",),
    ),
    Case(
        "a DAG with a sensor is started by an asset",
        {MARKET: [_ASSET, ('schedule="0 3 * * 1"', 'schedule=[Asset("stalls")]')]},
        ("SEN014",),
    ),
    Case(
        "a function says what a run by hand waits for",
        {
            RELABEL: [
                _imports("from operators.external_task import wait_for"),
                (
                    "label >> Trigger",
                    'wait_for("pick", "apples", execution_date_fn=lambda date: date.replace(hour=1)) >> label >> Trigger',
                ),
            ]
        },
        ("SEN014",),
    ),
    Case("a marker lost its shift", {PICK: (", delta=timedelta(hours=1))", ")")}, ("SEN015",)),
    Case(
        "a marker points to the run of the day before",
        {PICK: ("delta=timedelta(hours=1)", "delta=timedelta(hours=-23)")},
        ("SEN015",),
    ),
    Case(
        "an imported marker's shift has the wrong sign",
        {ORCHARD: ("logical_date - macros.timedelta", "logical_date + macros.timedelta")},
        ("SEN015",),
    ),
    Case("a marker of a weekly DAG names its own date", _marks(_MARKER.format("")), ("SEN015",)),
    Case("a DAG with a sensor runs in leap years", {MARKET: ('"0 3 * * 1"', '"0 3 29 2 *"')}, ("SEN014",)),
    Case(
        "the DAG waited for starts in two years",
        {PICK: ("datetime(2024, 1, 1)", "datetime(2028, 9, 1)")},
        ("SEN014",),
    ),
]

_TEMPLATES = [
    Case(
        "what a pod is expanded to names execution_date",
        _mapped('expand(arguments=[["press"], ["press", "--date={{ execution_date }}"]])'),
        ("TPL003",),
    ),
    Case("a brace is missing at the end", _word('"--date={{ ds }"'), ("TPL001",)),
    Case("an if is not closed", _word('"{% if ds %}--all"'), ("TPL001",)),
    Case("a filter is misspelt", _word('"--date={{ logical_date | dsnodash }}"'), ("TPL001",)),
    Case("a variable is misspelt", _word('"--date={{ dss }}"'), ("TPL002",)),
    Case("a macro is misspelt", _word('"--date={{ macros.ds_ad(ds, 1) }}"'), ("TPL002",)),
    Case("an attribute of the run is misspelt", _word('"--date={{ dag_run.logicaldate }}"'), ("TPL002",)),
    Case("execution_date", _word('"--date={{ execution_date }}"'), ("TPL003",)),
    Case("next_ds", _word('"--date={{ next_ds }}"'), ("TPL003",)),
    Case("prev_ds", _word('"--date={{ prev_ds }}"'), ("TPL003",)),
    Case("yesterday_ds_nodash", _word('"--date={{ yesterday_ds_nodash }}"'), ("TPL003",)),
    Case("external_trigger", _word('"--by-hand={{ dag_run.external_trigger }}"'), ("TPL003",)),
    Case("a macro lacks an argument", _word('"--date={{ macros.ds_add(ds) }}"'), ("TPL004",)),
    Case("a day is added to a text", _word('"--date={{ ds + 1 }}"'), ("TPL004",)),
    Case(
        "a marker's date has a misspelt argument",
        {ORCHARD: ("macros.timedelta(seconds=3600)", "macros.timedelta(second=3600)")},
        ("TPL004",),
    ),
    Case("a parameter is not declared", _word('"--date={{ params.day }}"'), ("TPL005",)),
    Case("a parameter is misspelt", _relabel(_RELABEL.replace("params.bottles", "params['botles']")), ("TPL005",)),
    Case("a template stands in a field that is not templated", _with('queue="press-{{ ds_nodash }}",'), ("TPL006",)),
]

_PODS = [
    Case("a volume is no volume", _with('volumes=["data"],'), ("POD001",)),
    Case("a label has a blank", _with('labels={"fruit": "green apples"},'), ("POD002",)),
    Case("a label is a number", _with('labels={"bottles": 3},'), ("POD002",)),
    Case("a namespace has a capital", _with('namespace="Default",'), ("POD002",)),
    Case("a node selector has a slash in its value", _with('node_selector={"pool": "large/nodes"},'), ("POD002",)),
    Case("a pull policy is misspelt", _with('image_pull_policy="always",'), ("POD002",)),
    Case("a variable of the environment is a number", _with('env_vars={"BOTTLES": 8},'), ("POD003",)),
    Case("a variable of the environment has a blank in its name", _with('env_vars={"THE BASKET": "a"},'), ("POD003",)),
    Case(
        "a secret and a variable have one name",
        _with(
            'secrets=pod_secrets("adm_export", SFTP_PASSWORD="sftp_password"),\n        env_vars={"SFTP_PASSWORD": "a"},',
            "from utils.secrets import pod_secrets",
        ),
        ("POD003",),
    ),
    Case(
        "memory in MB",
        {
            PRESS: [
                ('resources="small"', 'container_resources=V1ResourceRequirements(requests={"memory": "512MB"})'),
                _imports(_MODELS),
            ]
        },
        ("POD004",),
    ),
    Case(
        "memory in thousandths of a byte",
        {
            PRESS: [
                ('resources="small"', 'container_resources=V1ResourceRequirements(requests={"memory": "512m"})'),
                _imports(_MODELS),
            ]
        },
        ("POD004",),
    ),
    Case(
        "a request above its limit",
        {
            PRESS: [
                (
                    'resources="small"',
                    'container_resources=V1ResourceRequirements(requests={"memory": "2Gi"}, limits={"memory": "1Gi"})',
                ),
                _imports(_MODELS),
            ]
        },
        ("POD004",),
    ),
    Case("an argument is a number", _word('"--bottles", 8'), ("POD005",)),
    Case(
        "a mount without its volume",
        _with('volume_mounts=[V1VolumeMount(name="data", mount_path="/data")],', _MODELS),
        ("POD006",),
    ),
    Case(
        "two mounts at one path",
        _with(
            'volumes=[V1Volume(name="a"), V1Volume(name="b")],\n'
            '        volume_mounts=[V1VolumeMount(name=n, mount_path="/data") for n in ("a", "b")],',
            _MODELS,
        ),
        ("POD006",),
    ),
    Case("latest at tier 1", {PICK: ("Tag.ImpactTier.tier_2", "Tag.ImpactTier.tier_1")}, ("POD007",)),
    Case(
        "a pod of tier 1 asks for nothing",
        {
            PICK: [
                ("Tag.ImpactTier.tier_2", "Tag.ImpactTier.tier_1"),
                (
                    'task_id="apples",\n        image=image("jetstream")',
                    'task_id="apples",\n        image=image("google-cloud-sdk")',
                ),
                (
                    'task_id="pears",\n        image=image("jetstream")',
                    'task_id="pears",\n        image=image("google-cloud-sdk")',
                ),
                (
                    'env_vars={"BASKET": "{{ ds_nodash }}"},\n        resources="small",',
                    'env_vars={"BASKET": "{{ ds_nodash }}"},',
                ),
            ]
        },
        ("POD008",),
    ),
    Case("an argument is longer than Linux takes", _word('"--trees=" + "a," * 80_000'), ("POD009",)),
    Case(
        "an argument of an expanded pod is a number",
        _mapped('expand(arguments=[["press"], ["press", 8]])'),
        ("POD005",),
    ),
    Case(
        "a variable of an expanded pod is a number",
        _mapped('expand(arguments=[["a"], ["b"]], env_vars=[{"BOTTLES": "8"}, {"BOTTLES": 8}])'),
        ("POD003",),
    ),
    Case(
        "a label of an expanded pod has a blank",
        _mapped('expand_kwargs([{"arguments": ["press"]}, {"labels": {"fruit": "green apples"}}])'),
        ("POD002",),
    ),
    Case(
        "memory of an expanded pod is in MB",
        _mapped('expand(container_resources=[V1ResourceRequirements(requests={"memory": "512MB"})])', _MODELS),
        ("POD004",),
    ),
    Case("an expanded pod has no image", _mapped('expand(arguments=[["press"]])', shared="name='juice'"), ("POD001",)),
    Case(
        "a comma is missing in a query that a pod is expanded to",
        _mapped(
            'expand(arguments=[["query", f"sql/moz-fx-data-shared-prod/orchard_derived/{table}/query.sql"] '
            'for table in ("of_other_tables_v1", "comma_missing_v1")])',
            shared='image=image("bigquery-etl")',
        ),
        ("SQL001",),
    ),
    Case(
        "a comma is missing in what a pod is expanded to",
        _mapped('expand(arguments=[["a", "b"], ["a" "--b=c"]])'),
        ("POD010",),
    ),
    Case("a task gives an expanded pod its environment", _mapped(f"expand(env_vars={_OF_A_TASK})"), ("POD011",)),
    Case("a task gives an expanded pod its arguments", _mapped(f"expand_kwargs({_OF_A_TASK})"), ("POD011",)),
    Case("a task gives a pod its image", {PRESS: ('image=image("jetstream")', f"image={_OF_A_TASK}")}, ("POD011",)),
    Case("a comma is missing before a flag", _juice('arguments=["press" "--date={{ ds }}"],'), ("POD010",)),
    Case("a comma is missing between two flags", _word('"--all" "--dry-run"'), ("POD010",)),
    Case("a comma is missing behind a template", _word('"--date={{ ds }}" "--dry-run"'), ("POD010",)),
    Case("two flags in one word", _word('"--all --dry-run"'), ("POD010",)),
    Case("a blank at the end", _word('"--date={{ ds }} "'), ("POD010",)),
    Case("a program's name has a blank", {PICK: ('cmds=["python"]', 'cmds=["python -u"]')}, ("POD010",)),
    Case("a stray && without a shell", _word('"--all", "&&", "press"'), ("POD010",)),
    Case("a shell line without a shell", _juice('arguments=["press --all && press --none"],'), ("POD010",)),
    Case("typographic quotes", _word('"--kind=\\u201cred\\u201d"'), ("POD010",)),
    Case("a typographic dash", _word('"\\u2013all"'), ("POD010",)),
    Case("a variable of the shell without a shell", _word('"--basket=$BASKET"'), ("POD010",)),
    Case("an f-string ate the braces", _word('f"--date={{ds}}"'), ("POD010",)),
    Case("a brace is missing at the beginning", _word('"--date={ ds }}"'), ("POD010",)),
    Case("a quote is not closed in a script", _script('"press \'all"'), ("POD010",)),
    Case("a quote is not closed in a word", _word("'--kind=\"red'"), ("POD010",)),
]

_DECLARED = [
    Case(
        "a secret's key is misspelt",
        _with(
            'secrets=[Secret("env", "A", "airflow-gke-restricted-secrets", "adm_export_secret__sftp_pasword")],',
            _RAW_SECRET,
        ),
        ("DEC001",),
    ),
    Case(
        "a secret is misspelt",
        _with('secrets=[Secret("env", "A", "airflow-gke-secret", "docusign_jwt")],', _RAW_SECRET),
        ("DEC001",),
    ),
    Case(
        "a secret of an expanded pod is misspelt",
        _mapped('expand(secrets=[[], [Secret("env", "A", "airflow-gke-secret", "docusign_jwt")]])', _RAW_SECRET),
        ("DEC001",),
    ),
    Case(
        "an image of an expanded pod is not declared",
        _mapped('expand(image=[image("jetstream"), "gcr.io/fruit/press:1"])', shared='name="juice"'),
        ("DEC005",),
    ),
    Case("a connection is misspelt", _with('gcp_conn_id="google_cloud_gke",'), ("DEC002",)),
    Case("a connection in a template is misspelt", _word('"--host={{ conn.adm_stfp.host }}"'), ("DEC002",)),
    Case("a variable of Airflow is misspelt", _word('"--token={{ var.value.dap_auth_tokn }}"'), ("DEC003",)),
    Case("a variable with a default is not declared", _word("\"--n={{ var.value.get('presses', 3) }}\""), ("DEC003",)),
    Case("a pool is misspelt", _waits(_SENSOR.replace(")", '), pool="DATA_ENG_SENSOR"', 1)), ("DEC004",)),
    Case(
        "an image is not declared", {PRESS: ('image=image("jetstream")', 'image="gcr.io/fruit/press:1"')}, ("DEC005",)
    ),
]

_TEXT = '"fruit": Param("apple", type="string", pattern="{}"),'

_COMMANDS = [
    Case(
        "a free text in a script",
        _relabel(
            'cmds=["sh", "-c"],\n        arguments=["label --fruit={{ params.fruit }}"],', _TEXT.format("^[a-z; ]+$")
        ),
        ("CMD001",),
    ),
    Case(
        "a free text in quotes in a script",
        _relabel(
            'cmds=["bash", "-ec"],\n        arguments=["label --fruit=\'{{ params.fruit }}\'"],', _TEXT.format("[a-z]+")
        ),
        ("CMD001",),
    ),
    Case("the run's id in a script", _script('"press --run={{ run_id }}"'), ("CMD001",)),
    Case(
        "an XCom in a script", _script("\"press --list={{ ti.xcom_pull(task_ids='wait_for_apples') }}\""), ("CMD001",)
    ),
    Case("a variable in a script", _script('"press --bucket={{ var.value.ads_attr_job_config_bucket }}"'), ("CMD001",)),
    Case(
        "a value in a script that is put together late",
        {PRESS: [(_JUICE, '**shell("press --run={{ run_id }}"),'), _imports("from utils.commands import shell")]},
        ("CMD001",),
    ),
    Case("a shell traces", _script('"press"', program='"bash", "-cx"'), ("CMD002",)),
    Case("a script turns tracing on", _script('"set -ex; press"'), ("CMD002",)),
    Case("the raw conf is read", _relabel(_RELABEL.replace("params.day", "dag_run.conf['day']")), ("CMD003",)),
    Case(
        "the raw conf is handed on",
        {RELABEL: ('trigger_dag_id="press"', 'trigger_dag_id="press", conf="{{ dag_run.conf }}"')},
        ("CMD003",),
    ),
    Case("a parameter is no Param", {RELABEL: (_DAY, '"day": "2026-06-01",')}, ("CMD004",)),
    Case("a text without a pattern", {RELABEL: (_DAY, '"day": Param("2026-06-01", type="string"),')}, ("CMD004",)),
    Case("a number without a maximum", {RELABEL: (", maximum=1000", "")}, ("CMD004",)),
    Case(
        "a list of any texts", {RELABEL: (_DAY, f'{_DAY}\n        "trees": Param(["a"], type="array"),')}, ("CMD004",)
    ),
]

_INNOCENT = [
    Case(
        "a pod is expanded to what its file says",
        _mapped('expand(arguments=[["press"], ["press", "--date={{ ds }}"]])'),
    ),
    Case("a pod is expanded to nothing", _mapped("expand(arguments=[])")),
    Case("a pod is expanded to what a task gives", _mapped(f"expand(arguments={_OF_A_TASK}, name=['a', 'b'])")),
    Case(
        "a pod is expanded to two shells",
        _mapped(
            'expand(cmds=[["sh", "-c"], ["bash", "-c"]])',
            shared='image=image("jetstream"),\n        arguments=["set -e; press && press"]',
        ),
    ),
    Case(
        "pods of a mapped group get what it is expanded to",
        {
            PRESS: [
                (
                    _SENSOR,
                    f"""@task_group
    def fruits(fruit):
        \"\"\"What is done for each fruit.\"\"\"
        GKEPodOperator(
            task_id="wash", image=image("jetstream"), arguments=["wash", fruit], env_vars={{"FRUIT": fruit}}, labels={{"f": fruit}}
        )
        GKEPodOperator(task_id="peel", image=image("jetstream"), arguments=fruit)

    fruits.expand(fruit={_OF_A_TASK})
    {_SENSOR}""",
                ),
                ("import DAG\n", "import DAG, task_group\n"),
            ]
        },
    ),
    Case("both DAGs have one time zone with daylight saving", {PORTS: _ports(("America/New_York",) * 2, 1)}),
    Case("two time zones without daylight saving", {PORTS: _ports(("UTC", "Asia/Tokyo"), -8)}),
    Case("a sensor waits for a whole run", _waits('wait_for("pick", None, delta=timedelta(hours=2))')),
    Case(
        "a sensor waits for a task group",
        _waits('wait_for("pick", None, delta=timedelta(hours=2), external_task_group_id="apples_external")'),
    ),
    Case(
        "a function works the date out",
        _waits('wait_for("pick", "apples", execution_date_fn=lambda date: date.subtract(hours=2))'),
    ),
    Case(
        "a monthly DAG's function works the newest run out",
        {
            MARKET: [
                ("delta=timedelta(days=-6)", "execution_date_fn=lambda date: date.add(months=1).subtract(days=1)"),
                ('"0 3 * * 1"', '"0 3 1 * *"'),
            ]
        },
    ),
    Case("a daily DAG waits for yesterday's run", _waits(_SENSOR.replace("hours=2", "hours=26"))),
    Case(
        "a DAG waits for its own run of the day before",
        _waits('wait_for("press", "juice", delta=timedelta(days=1))'),
    ),
    Case(
        "a daily DAG waits for the last hour",
        _waits('wait_for("bottles", "orchard_derived__bottles__v1", delta=timedelta(hours=-23))'),
    ),
    Case("a sensor waits for less than a day", _waits(_SENSOR.replace(")", "), timeout=timedelta(hours=8)", 1))),
    Case(
        "a marker of a weekly DAG names the week's first day",
        _marks(_MARKER.format(', logical_date="{{ (logical_date - macros.timedelta(days=6)).isoformat() }}"')),
    ),
    Case(
        "a marker of a monthly DAG names the month's first day",
        _marks(_MARKER.format(', logical_date="{{ logical_date.replace(day=1).isoformat() }}"'))
        | {
            MARKET: [
                ("delta=timedelta(days=-6)", "execution_date_fn=lambda date: date.add(months=1).subtract(days=1)"),
                ('"0 3 * * 1"', '"0 3 1 * *"'),
            ]
        },
    ),
    Case("two DAGs run once, and the shift is the day between", {PORTS: _ports_once("delta=timedelta(days=1)")}),
    Case(
        "a function names the day of the one run",
        {PORTS: _ports_once("execution_date_fn=lambda date: date.replace(day=3)")},
    ),
    Case(
        "a daily DAG waits for the last of the runs every ten minutes",
        _waits('wait_for("bottles", "orchard_derived__bottles__v1", delta=timedelta(hours=-23, minutes=-50))')
        | {BOTTLES: ('"0 * * * *"', '"*/10 * * * *"')},
    ),
    Case(
        "a yearly DAG's function works the newest run out",
        {
            MARKET: [
                ("delta=timedelta(days=-6)", "execution_date_fn=lambda date: date.add(years=1).subtract(days=1)"),
                ('"0 3 * * 1"', '"0 3 1 1 *"'),
            ]
        },
    ),
    Case(
        "a DAG that has ended had a wrong shift",
        {
            PRESS: [
                (_SENSOR, 'wait_for("pick", "apples")'),
                ("datetime(2024, 1, 1),", "datetime(2024, 1, 1),\n    end_date=datetime(2025, 9, 1),"),
            ],
            MARKET: None,
        },
    ),
    Case("both DAGs start in autumn", {PORTS: _ports(("UTC", "UTC"), 1).replace("2024, 1, 1", "2026, 9, 1")}),
    Case("the DAG waited for starts in autumn", {PICK: ("datetime(2024, 1, 1)", "datetime(2026, 9, 1)")}),
    Case("Airflow's filters", _word('"--from={{ logical_date | ds }}", "--to={{ data_interval_end | ts_nodash }}"')),
    Case("a loop and a variable of its own", _word('"{% set n = 2 %}{% for i in range(n) %}{{ i }}{% endfor %}"')),
    Case("an XCom of another task", _word("\"--list={{ ti.xcom_pull(task_ids='wait_for_apples') }}\"")),
    Case(
        "a macro of the DAG's own",
        {
            PRESS: [
                ('schedule="0 3 * * *",', 'schedule="0 3 * * *",\n    user_defined_macros={"baskets": 4},'),
                (_JUICE, 'arguments=["press", "--baskets={{ baskets }}"],'),
            ]
        },
    ),
    Case("a parameter by get", _relabel('arguments=["label", "--day={{ params.get(\'day\') }}"],')),
    Case("braces that are meant", _word('"--text={% raw %}{{ x }}{% endraw %}"')),
    Case("a pod's name with underscores", _with('name="press_the_juice",')),
    Case(
        "a template in a callback",
        _with(
            'on_failure_callback=SlackNotifier(text="{{ ti.task_id }} failed", slack_conn_id="slack_airflow_bot"),',
            "from airflow.providers.slack.notifications.slack import SlackNotifier",
        ),
    ),
    Case("JSON as an argument", _word('\'--options={"a": {"b": {"c": 1}}}\'')),
    Case("SQL as an argument", _word("\"--where=kind = 'red' -- and ripe\"")),
    Case("a value with two dashes", _word('"--bucket=gs://fruit--red/apples"')),
    Case("a partition", _word('"--table=orchard.juice$20260601"')),
    Case("an apostrophe", _word('"--title=The day\'s juice"')),
    Case("a flag whose value is flags", _word('"--options=--all --dry-run"')),
    Case("a program's text", {PICK: ('"-m", "pick", ', '"-c", "import this\\nprint(1 and 2); print(3)\\n", ')}),
    Case("a script with && in a shell", _script('"set -e; press --date={{ ds }} && echo $HOME"')),
    Case("a script behind env", _script('"press && press"', program='"env", "A=1", "bash", "-o", "pipefail", "-c"')),
    Case(
        "yes or no in a script",
        _relabel(
            'cmds=["sh", "-c"],\n        arguments=["{{ \'label && \' if params.twice }}label --day={{ params.day }}"],',
            '"twice": Param(False, type="boolean"),',
        ),
    ),
    Case(
        "a number, a choice and a name in a script",
        _relabel(
            'cmds=["sh", "-c"],\n        arguments=["label {{ params.bottles }} {{ params.size }} {{ params.fruit }}"],',
            '"size": Param("small", enum=["small", "large"]),',
            _TEXT.format("^[a-z0-9_-]+$"),
        ),
    ),
    Case(
        "a text in a script that is checked and quoted when the task runs",
        {
            RELABEL: [
                (_RELABEL, '**shell("label", flags={"--fruit": ("fruit", "[a-z ]+")}),'),
                (_DAY, f"{_DAY}\n        {_TEXT.format('^[a-z ]+$')}"),
                _imports("from utils.commands import shell"),
            ]
        },
    ),
    Case(
        "a free text as a word of its own",
        _relabel('arguments=["label", "--fruit={{ params.fruit }}"],', _TEXT.format("^.+$")),
    ),
    Case(
        "all that is declared",
        _with(
            'secrets=pod_secrets("adm_export", SFTP_PASSWORD="sftp_password"),\n'
            '        env_vars={"HOST": "{{ conn.adm_sftp.host }}", "TOKEN": "{{ var.value.dap_auth_token }}"},\n'
            '        labels={"fruit": "apple"},',
            "from utils.secrets import pod_secrets",
        ),
    ),
    Case(
        "a pinned image at tier 1",
        {
            PICK: [
                ("Tag.ImpactTier.tier_2", "Tag.ImpactTier.tier_1"),
                (
                    'task_id="apples",\n        image=image("jetstream")',
                    'task_id="apples",\n        image=image("google-cloud-sdk")',
                ),
                (
                    'task_id="pears",\n        image=image("jetstream")',
                    'task_id="pears",\n        image=image("google-cloud-sdk")',
                ),
            ]
        },
    ),
    Case(
        "a tag that a variable holds, at tier 1",
        {
            PICK: [
                ("Tag.ImpactTier.tier_2", "Tag.ImpactTier.tier_1"),
                (
                    'task_id="apples",\n        image=image("jetstream")',
                    'task_id="apples",\n        image=image("jetstream", tag="{{ var.value.lookml_generator_release_str }}")',
                ),
                (
                    'task_id="pears",\n        image=image("jetstream")',
                    'task_id="pears",\n        image=image("google-cloud-sdk")',
                ),
            ]
        },
    ),
    Case(
        "every kind of parameter of this project",
        {
            RELABEL: [
                _imports("from utils import params as kinds"),
                (
                    _DAY,
                    "\n        ".join([
                        _DAY,
                        '"a": kinds.date_param("A day."),',
                        '"b": kinds.text_param("A text.", pattern="[a-z]+", optional=True),',
                        '"c": kinds.flag_param("Yes or no."),',
                        '"d": kinds.choice_param("One.", choices=["x", "y"], default="x"),',
                        '"e": kinds.list_param("Some.", pattern="[a-z]+"),',
                        '"f": kinds.number_param("How many.", default=1, minimum=1, maximum=2),',
                    ]),
                ),
            ]
        },
    ),
]

CASES = [*_SENSORS, *_TEMPLATES, *_PODS, *_DECLARED, *_COMMANDS, *_INNOCENT]
