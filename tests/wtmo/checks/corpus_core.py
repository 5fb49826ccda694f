"""Cases of loading, owners, tags, alerts, limits of time, pages, pools and SQL: see :mod:`tests.wtmo.checks.corpus`."""

from __future__ import annotations

from tests.wtmo.checks.corpus import BASE, Case

PICK = "telemetry-airflow/collection/pick.py"
PRESS = "telemetry-airflow/etl/press.py"
BOTTLES = "telemetry-airflow/etl/bottles.py"
RELABEL = "telemetry-airflow/operations/relabel.py"
MARKET = "telemetry-airflow/reverse_etl/market.py"
SHELF = "telemetry-airflow/etl/shelf.py"
ORCHARD = "bigquery-etl/bqetl_orchard.py"
CELLAR = "bigquery-etl/bqetl_cellar.py"

_MARK = 'mark(apples, {"bqetl_orchard": "wait_for_apples"}, delta=timedelta(hours=1))'
_AFTER_IMPORTS = "from utils.tags import Tag\n"


def _at_top(code: str) -> tuple[str, str]:
    """A change of ``press`` that puts code below its imports."""
    return _AFTER_IMPORTS, f"{_AFTER_IMPORTS}\n{code}\n"


def _night(operator: str, *, arguments: str = "", tier: int = 1, imports: str = "", above: str = "") -> str:
    """A DAG of one task that is no pod."""
    return f'''"""Do what is done at night.

## Where the data comes from and goes

Nowhere.

## When it fails

Clear it.

## How to re-run it

Clear it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
{imports}
from utils.defaults import default_args
from utils.tags import Tag

LIMIT = timedelta(hours=1)
{above}
with DAG(
    "night",
    doc_md=__doc__,
    schedule="0 1 * * *",
    start_date=datetime(2024, 1, 1),
    default_args=default_args(owner="data-engineering"),
    tags=[Tag.ImpactTier.tier_{tier}],{arguments}
):
    {operator}
'''


_NIGHT = "telemetry-airflow/operations/night.py"
_DONE = 'BashOperator(task_id="night", bash_command="true", execution_timeout=LIMIT)'


def _job(sql: str) -> str:
    """A DAG with a task that holds its query."""
    return _night(
        f'BigQueryInsertJobOperator(task_id="night", configuration={{"query": {{"query": {sql!r}, "useLegacySql": False}}}}, '
        'gcp_conn_id="google_cloud_shared_prod", execution_timeout=LIMIT)',
        imports="from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator\n",
    )


_LOADING = [
    Case("a comma is missing", {PRESS: ('image=image("jetstream"),\n', 'image=image("jetstream")\n')}, ("LOD001",)),
    Case("a module that does not exist is imported", {PRESS: _at_top("import utils.presses")}, ("LOD001",)),
    Case("a name is misspelt", {PRESS: ("tags=[Tag.ImpactTier", "tags=[Tags.ImpactTier")}, ("LOD001",)),
    Case("an operator's argument is misspelt", {PRESS: ("arguments=[", "argument=[")}, ("LOD001",)),
    Case("an operator's task_id is missing", {PRESS: ('        task_id="juice",\n', "")}, ("LOD001",)),
    Case("an image is misspelt", {PRESS: ('image("jetstream")', 'image("jetsream")')}, ("LOD001",)),
    Case("a person owns the DAG", {PRESS: ('owner="data-tools"', 'owner="someone"')}, ("LOD001",)),
    Case("emails for email", {PRESS: ("retries=1", 'retries=1, emails=["a@example.com"]')}, ("LOD001",)),
    Case("a cron expression has six hours", {PRESS: ('"0 3 * * *"', '"0 3/ * * *"')}, ("LOD001",)),
    Case("a task_id has a space", {PRESS: ('task_id="juice"', 'task_id="the juice"')}, ("LOD001",)),
    Case("it is not UTF-8", {SHELF: "\udcff"}, ("LOD001",)),
    Case("a task waits for itself", {PICK: ("apples >> pears", "apples >> pears >> apples")}, ("LOD002",)),
    Case("two tasks have one id", {PICK: ('task_id="pears"', 'task_id="apples"')}, ("LOD003",)),
    Case(
        "two DAGs of a file have one id",
        {MARKET: [('"south", 200', '"north", 200'), ('task_id="send"', 'task_id=f"send_{market.bottles}"')]},
        ("LOD003",),
    ),
    Case("a copied file kept its dag_id", {SHELF: (BASE / PRESS).read_text()}, ("LOD004", "POL007")),
    Case(
        "an imported DAG has the id of a hand-written one",
        {"bigquery-etl/press.py": (BASE / CELLAR).read_text().replace('    "bqetl_cellar",', '    "press",')},
        ("LOD004",),
    ),
    Case("the start is today", {PRESS: ("datetime(2024, 1, 1)", "datetime.now()")}, ("LOD005",)),
    Case(
        "the start is days ago", {PRESS: ("datetime(2024, 1, 1)", "datetime.today() - timedelta(days=2)")}, ("LOD005",)
    ),
    Case(
        "a Variable is read at the top",
        {PRESS: _at_top('from airflow.sdk import Variable\n\nPRESSES = Variable.get("presses")')},
        ("LOD006",),
    ),
    Case(
        "a Variable with a default is read at the top",
        {PRESS: _at_top('from airflow.sdk import Variable\n\nPRESSES = Variable.get("presses", default=3)')},
        ("LOD006",),
    ),
    Case(
        "a Connection is read at the top",
        {PRESS: _at_top('from airflow.sdk import BaseHook\n\nHOST = BaseHook.get_connection("airflow_api").host')},
        ("LOD006",),
    ),
    Case(
        "a web page is read at the top",
        {
            PRESS: _at_top(
                "def page():\n    from urllib.request import urlopen\n\n    return urlopen('http://example.com')\n\n\npage()"
            )
        },
        ("LOD006",),
    ),
    Case(
        "a failed connection at the top is caught",
        {
            PRESS: _at_top(
                "def reach():\n    import socket\n\n    try:\n        socket.create_connection(('127.0.0.1', 1))\n"
                "    except OSError:\n        pass\n\n\nreach()"
            )
        },
        ("LOD006",),
    ),
    Case(
        "the database is asked at the top",
        {
            PRESS: _at_top(
                "def runs():\n    from airflow.utils.session import create_session\n\n    with create_session() as session:\n"
                "        return session\n\n\nruns()"
            )
        },
        ("LOD006",),
    ),
    Case("a parameter's default is no data", {RELABEL: ("Param(10, ", "Param(object(), ")}, ("LOD001",)),
    Case(
        "a run's limit is negative",
        {PRESS: ("doc_md=__doc__,", "doc_md=__doc__,\n    dagrun_timeout=timedelta(hours=-1),")},
        ("LOD008",),
    ),
    Case("a file is empty", {SHELF: ""}, ("LOD009",)),
    Case("a file holds helpers", {SHELF: '"""Shelves."""\n\nSHELVES = ("a", "b")\n'}, ("LOD009",)),
    Case(
        "a DAG is made in a function that nobody calls",
        {SHELF: "from airflow.sdk import DAG\n\n\ndef make():\n    DAG('shelf')\n"},
        ("LOD009",),
    ),
    Case("pandas is imported at the top", {PRESS: _at_top("import pandas")}, ("LOD011",)),
    Case(
        "a client of Google is imported at the top", {PRESS: _at_top("from google.cloud import bigquery")}, ("LOD011",)
    ),
    Case("a module for processes is imported at the top", {PRESS: _at_top("import subprocess")}, ("LOD011",)),
    Case(
        "an operator is imported from where it was",
        {_NIGHT: _night(_DONE).replace("airflow.providers.standard.operators.bash", "airflow.operators.bash")},
        ("LOD012",),
    ),
    Case(
        "two DAGs wait for each other",
        {
            PICK: [
                ("import mark\n", "import mark, wait_for\n"),
                (
                    "    apples >> pears\n",
                    '    wait_for("press", "juice", delta=timedelta(hours=-2)) >> apples >> pears\n',
                ),
            ]
        },
        ("LOD013",),
    ),
]

_OWNERS = [
    Case("no impact tag", {PRESS: ("tags=[Tag.ImpactTier.tier_3]", 'tags=["juice"]')}, ("POL001",)),
    Case(
        "two impact tags",
        {PRESS: ("[Tag.ImpactTier.tier_3]", "[Tag.ImpactTier.tier_3, Tag.ImpactTier.tier_2]")},
        ("POL001",),
    ),
    Case("an imported DAG has no impact tag", {ORCHARD: ('tags = ["impact/tier_2", ', "tags = [")}, ("POL001",)),
    Case("a tier that there is not", {PRESS: ("[Tag.ImpactTier.tier_3]", '["impact/tier_4"]')}, ("POL001", "POL002")),
    Case(
        "a misspelt tag of triage",
        {ORCHARD: ('"repo/bigquery-etl"]', '"repo/bigquery-etl", "triage/recordonly"]')},
        ("POL002",),
    ),
    Case("a misspelt repository", {ORCHARD: ('"repo/bigquery-etl"]', '"repo/bigqueryetl"]')}, ("POL002",)),
    Case(
        "Airflow owns the DAG", {CELLAR: ('    "owner": "cellar@example.com",', '    "owner": "airflow",')}, ("POL003",)
    ),
    Case("nobody owns a task", {PRESS: ('task_id="juice",', 'task_id="juice",\n        owner="",')}, ("POL003",)),
    Case(
        "a person owns a task", {PRESS: ('task_id="juice",', 'task_id="juice",\n        owner="someone",')}, ("POL004",)
    ),
    Case(
        "a team is misspelt on a task",
        {PRESS: ('task_id="juice",', 'task_id="juice",\n        owner="data-tool",')},
        ("POL004",),
    ),
    Case(
        "an imported DAG's owner has no address",
        {CELLAR: ('    "owner": "cellar@example.com",', '    "owner": "cellar",')},
        ("POL005",),
    ),
    Case(
        "emails for email in a generated file",
        {ORCHARD: ('    "email": [', '    "emails": ["b@example.com"],\n    "email": [')},
        ("POL006",),
    ),
    Case("retry_dely for retry_delay", {ORCHARD: ('    "retry_delay"', '    "retry_dely"')}, ("POL006",)),
    Case(
        "a misspelt default argument beside default_args()",
        {
            PRESS: (
                'owner="data-tools", retries=1)',
                'owner="data-tools", retries=1) | {"execution_time": timedelta(hours=1)}',
            )
        },
        ("POL006",),
    ),
    Case(
        "a DAG's own argument among the default ones",
        {PRESS: ('owner="data-tools", retries=1)', 'owner="data-tools", retries=1) | {"max_active_runs": 1}')},
        ("POL006",),
    ),
    Case("a file has another name than its DAG", {PRESS: None, SHELF: (BASE / PRESS).read_text()}, ("POL007",)),
]

_ALERTS = [
    Case("mail goes to the team alone", {PRESS: ("retries=1", "retries=1, email=[]")}, ("ALR001",)),
    Case("failures are not mailed", {PRESS: ("retries=1", "retries=1, email_on_failure=False")}, ("ALR001",)),
    Case(
        "a task's failure is not mailed",
        {PRESS: ('task_id="juice",', 'task_id="juice",\n        email=None,')},
        ("ALR001",),
    ),
    Case(
        "an imported DAG mails its owner alone",
        {
            ORCHARD: (
                '    "email": ["telemetry-alerts@mozilla.com", "fruit@example.com"]',
                '    "email": ["fruit@example.com"]',
            )
        },
        ("ALR001",),
    ),
    Case("the tag of triage is gone", {BOTTLES: ("tier_3, Tag.Triage.no_triage]", "tier_3]")}, ("ALR001",)),
    Case("what is not triaged is mailed", {BOTTLES: (", triaged=False)", ")")}, ("ALR002",)),
    Case(
        "an imported DAG that is not triaged is mailed",
        {CELLAR: ('"email": ["cellar', '"email": ["telemetry-alerts@mozilla.com", "cellar')},
        ("ALR002",),
    ),
    Case(
        "nobody hears of what is not triaged",
        {BOTTLES: ("triaged=False)", "triaged=False, on_failure_callback=None)")},
        ("ALR003",),
    ),
    Case(
        "another team is told",
        {
            BOTTLES: [
                ("from utils.defaults", "from utils.callbacks import TellTeam\nfrom utils.defaults"),
                ("triaged=False)", 'triaged=False, on_failure_callback=[TellTeam("data-tools")])'),
            ]
        },
        ("ALR004",),
    ),
    Case(
        "a person is mailed",
        {PRESS: ("retries=1", 'retries=1, email=["telemetry-alerts@mozilla.com", "someone@example.com"]')},
        ("ALR005",),
    ),
]

_LIMITS = [
    Case(
        "nothing ends a task of tier 1", {_NIGHT: _night(_DONE.replace(", execution_timeout=LIMIT", ""))}, ("TIM001",)
    ),
    Case(
        "a task may take longer than its run",
        {PICK: ("execution_timeout=timedelta(hours=3)", "execution_timeout=timedelta(hours=30)")},
        ("TIM002",),
    ),
    Case(
        "a run may take seconds",
        {PICK: ("dagrun_timeout=timedelta(hours=20)", "dagrun_timeout=timedelta(seconds=20)")},
        ("TIM002",),
    ),
    Case("a limit is zero", {PRESS: ("retries=1", "retries=1, execution_timeout=timedelta()")}, ("TIM003",)),
    Case(
        "a run's limit is zero",
        {PRESS: ("doc_md=__doc__,", "doc_md=__doc__,\n    dagrun_timeout=timedelta(),")},
        ("TIM003",),
    ),
]

_PAGES = [
    Case("a DAG has no page", {PRESS: ("    doc_md=__doc__,\n", "")}, ("DOC001",)),
    Case("an imported DAG has no page", {ORCHARD: ("    doc_md=docs,\n", "")}, ("DOC001",)),
    Case("a heading is misspelt", {PRESS: ("## When it fails", "## When it fails?")}, ("DOC002",)),
    Case("a heading is missing", {PRESS: ("## How to re-run it\n\n", "")}, ("DOC002",)),
    Case(
        "the headings are in another order",
        {
            PRESS: [
                ("## When it fails", "## How to"),
                ("## How to re-run it", "## When it fails"),
                ("## How to\n", "## How to re-run it\n"),
            ]
        },
        ("DOC002",),
    ),
    Case("a heading has no text", {PRESS: ("Clear the task: it can run again at any time.\n", "")}, ("DOC002",)),
    Case("the page begins with a heading", {PRESS: ('"""Press the', '"""# Press the')}, ("DOC003",)),
    Case("the page's first line is no sentence", {PRESS: ("apples into juice.", "apples into juice")}, ("DOC003",)),
]

_POOLS = [
    Case(
        "a sensor holds a slot that what it waits for needs",
        {PRESS: ("delta=timedelta(hours=2))", 'delta=timedelta(hours=2), deferrable=False, pool="default_pool")')},
        ("POOL001",),
    ),
    Case(
        "sensors of one pool wait for one another",
        {
            CELLAR: ('mode="reschedule"', 'mode="poke"'),
            ORCHARD: ('mode="reschedule"', 'mode="poke"'),
        },
        ("POOL001",),
    ),
    Case(
        "a run is waited for by who holds its slot",
        {RELABEL: ('trigger_dag_id="press")', 'trigger_dag_id="press", wait_for_completion=True)')},
        ("POOL001",),
    ),
    Case(
        "a task asks for more slots than there are",
        {PRESS: ("delta=timedelta(hours=2))", "delta=timedelta(hours=2), pool_slots=100)")},
        ("POOL002",),
    ),
]

_INNOCENT = [
    Case("a DAG more", {_NIGHT: _night(_DONE)}),
    Case("a tag of its own", {PRESS: ("[Tag.ImpactTier.tier_3]", '[Tag.ImpactTier.tier_3, "juice"]')}),
    Case("a family's file has a name of its own", {MARKET: ('"Send', '"Sends')}),
    Case("a DAG of a file that is not there any more", {MARKET: None}),
    Case("a comment and an empty line more", {PRESS: _at_top("# Juice is what this is about.")}),
    Case(
        "another docstring", {PRESS: ("Press the day's apples into juice.", "Press what was picked (apples, mostly).")}
    ),
    Case("a heading more", {PRESS: ("## When it fails", "## Terms\n\nJuice is pressed apples.\n\n## When it fails")}),
    Case("the schedule is daily by its name", {BOTTLES: ('"0 * * * *"', '"@hourly"')}),
    Case(
        "a task has a limit of its own",
        {PRESS: ('task_id="juice",', 'task_id="juice",\n        execution_timeout=timedelta(hours=1),')},
    ),
    Case(
        "tier 1 with a limit for the run",
        {_NIGHT: _night(_DONE.replace(", execution_timeout=LIMIT", ""), arguments=" dagrun_timeout=LIMIT,")},
    ),
    Case("tier 2 without any limit", {_NIGHT: _night(_DONE.replace(", execution_timeout=LIMIT", ""), tier=2)}),
    Case(
        "a module for types alone",
        {PRESS: _at_top("from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from pandas import DataFrame")},
    ),
    Case(
        "a heavy module in a function",
        {PRESS: _at_top("def presses():\n    import pandas\n\n    return pandas.DataFrame()")},
    ),
    Case(
        "a Variable in a template",
        {PRESS: ('"--date={{ ds }}"]', '"--date={{ ds }}", "--project={{ var.value.ads_incr_job_project_id }}"]')},
    ),
    Case("the clock is read when a task runs", {PRESS: _at_top("def today():\n    return datetime.now()")}),
    Case(
        "mail to the alert address written out",
        {PRESS: ("retries=1", 'retries=1, email="telemetry-alerts@mozilla.com"')},
    ),
    Case("no mail of retries", {PRESS: ("retries=1", "retries=1, email_on_retry=False")}),
    Case("an imported DAG is owned by a team", {CELLAR: ('    "owner": "cellar@example.com",', '    "owner": "ads",')}),
    Case(
        "an imported DAG is owned by two addresses",
        {CELLAR: ('    "owner": "cellar@example.com",', '    "owner": "cellar@example.com, a@example.com",')},
    ),
    Case(
        "a default argument of one kind of task",
        {PRESS: ('owner="data-tools", retries=1)', 'owner="data-tools", retries=1) | {"get_logs": True}')},
    ),
    Case(
        "a sensor that defers in the default pool",
        {PRESS: ("delta=timedelta(hours=2))", 'delta=timedelta(hours=2), pool="default_pool")')},
    ),
    Case(
        "a sensor holds a slot of a pool that nothing else needs",
        {PRESS: ("delta=timedelta(hours=2))", "delta=timedelta(hours=2), deferrable=False)")},
    ),
    Case(
        "as many slots as there are", {PRESS: ("delta=timedelta(hours=2))", "delta=timedelta(hours=2), pool_slots=64)")}
    ),
    Case(
        "what is confidential is mailed",
        {PRESS: ("[Tag.ImpactTier.tier_3]", "[Tag.ImpactTier.tier_3, Tag.Triage.confidential]")},
    ),
    Case(
        "imported DAGs are not there",
        {
            ORCHARD: None,
            CELLAR: None,
            PICK: (f"    {_MARK}\n", "    print(mark)\n"),
        },
    ),
]


def _query_of(table: str) -> dict[str, tuple[str, str]]:
    """The query of ``bottles`` is that of another table of the checkout."""
    return {BOTTLES: ('destination_table="bottles_v1"', f'destination_table="{table}"')}


_QUERIES = [
    Case("a comma is missing in a query", _query_of("comma_missing_v1"), ("SQL001",)),
    Case("a column of a query is misspelt", _query_of("column_misspelt_v1"), ("SQL001",)),
    Case("a query does not group by what it selects", _query_of("group_missing_v1"), ("SQL001",)),
    Case("a query compares a number with a word", _query_of("types_differ_v1"), ("SQL001",)),
    Case("a query has a parameter that the task does not give", _query_of("parameter_missing_v1"), ("SQL001",)),
    Case("a function of a query is misspelt", _query_of("function_misspelt_v1"), ("SQL001",)),
    Case("a task holds a query that is none", {_NIGHT: _job("SELECT 1,, 2")}, ("SQL001",)),
    Case("a query file is not there", _query_of("bottle_v1"), ("SQL002",)),
]

_INNOCENT += [
    Case("a query of a table that is not known", _query_of("of_other_tables_v1")),
    Case("a query with a function that is not known", _query_of("by_other_functions_v1")),
    Case("a task holds a script", {_NIGHT: _job("CREATE TEMP TABLE a AS SELECT 1 AS b; SELECT b FROM a")}),
]

CASES = [*_QUERIES, *_LOADING, *_OWNERS, *_ALERTS, *_LIMITS, *_PAGES, *_POOLS, *_INNOCENT]
