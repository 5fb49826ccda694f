"""Each line of the table, with the errors that the clients and operators really raise."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.providers.cncf.kubernetes.utils.pod_manager import (
    PodLaunchTimeoutException,
    detect_pod_terminate_early_issues,
)
from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskDeferralError,
)
from airflow.serialization.serialized_objects import DagSerialization
from google.api_core import exceptions as google
from google.cloud.bigquery.job.base import _error_result_to_exception
from kubernetes.client import V1ContainerState, V1ContainerStateWaiting, V1ContainerStatus, V1Pod, V1PodStatus
from kubernetes.client.exceptions import ApiException
from kubernetes_asyncio.client.exceptions import ApiException as AsyncApiException

from operators.bigquery import BigQueryJobError
from operators.fivetran import FivetranError, _Attempts
from operators.gcp_container_operator import PodFailedError
from utils.defaults import default_args
from utils.retries import LONGEST, PUT_OFF, RULES, FaultRetryPolicy, rule_of, waiting_out

POLICY = FaultRetryPolicy()


def job_error(reason: str, message: str) -> google.GoogleAPICallError:
    """What Google's client raises for a job that ended with this error."""
    result = {"reason": reason, "message": message, "location": "query"}
    error = _error_result_to_exception(result, [result])
    assert isinstance(error, google.GoogleAPICallError)
    return error


def operator_error(reason: str, message: str) -> AirflowException:
    """What BigQuery's operators raise for it."""
    return AirflowException(
        f"BigQuery job airflow_x failed: { {'reason': reason, 'location': 'query', 'message': message} }"
    )


def api_error(code: type[google.GoogleAPICallError], reason: str, message: str) -> google.GoogleAPICallError:
    """What Google's client raises for a call that was refused."""
    error: google.GoogleAPICallError = code(message, errors=[{"reason": reason, "message": message}])
    return error


def cannot_pull(reason: str, message: str) -> PodFailedError:
    """What our pod operator raises when the provider gives an image up."""
    waiting = V1ContainerState(waiting=V1ContainerStateWaiting(reason=reason, message=message))
    status = V1ContainerStatus(name="base", image="x", image_id="", ready=False, restart_count=0, state=waiting)
    said = detect_pod_terminate_early_issues(V1Pod(status=V1PodStatus(container_statuses=[status])))
    assert said, "the provider waits for this one"
    return PodFailedError(f"Pod task-1 returned a failure.\nReason: {said}")


def caused(cause: BaseException) -> PodFailedError:
    error = PodFailedError("Pod task-1 returned a failure.")
    error.__cause__ = cause
    return error


def kubernetes(status: int, message: str, kind: type[Exception] = ApiException) -> Exception:
    error = kind(status=status, reason="x")
    error.body = json.dumps({"kind": "Status", "message": message})  # type: ignore[attr-defined]
    return error


def fivetran(status: int, headers: dict[str, str] | None = None, limit: int = 1) -> FivetranError:
    """What our Fivetran operator raises when its attempts are used up, or Fivetran names a time that is too long for one."""
    with pytest.raises(FivetranError) as raised:
        _Attempts("GET /v1/connections/x", limit=limit, delay=1, patience=1).wait_after(
            httpx.Response(status, headers=headers, json={})
        )
    return raised.value


SQL = 'Syntax error: Unexpected identifier "FRM" at [1:10]'
DENIED = "Access Denied: Table p:d.t: User does not have permission to query table p:d.t."
QUOTA = "Quota exceeded: Your project exceeded quota for imports per table."
RATE = "Exceeded rate limits: too many table update operations for this table."
POD_LOG = "Pod task-1 returned a failure.\nExit code 1 (Error).\nLast lines of its log:\n"

CASES: list[tuple[str, BaseException]] = [
    ("rate limit", google.TooManyRequests("slow down")),
    ("rate limit", google.ResourceExhausted("slow down")),
    ("rate limit", api_error(google.Forbidden, "rateLimitExceeded", RATE)),
    ("rate limit", job_error("jobRateLimitExceeded", RATE)),
    ("rate limit", operator_error("rateLimitExceeded", RATE)),
    ("rate limit", AirflowException(RATE)),
    ("rate limit", kubernetes(429, "too many requests")),
    ("rate limit", kubernetes(429, "too many requests", AsyncApiException)),
    ("rate limit", caused(kubernetes(429, "too many requests"))),
    ("rate limit", fivetran(429)),
    ("service overloaded", fivetran(503)),
    ("quota used up", api_error(google.Forbidden, "quotaExceeded", QUOTA)),
    ("quota used up", job_error("quotaExceeded", QUOTA)),
    ("quota used up", operator_error("quotaExceeded", QUOTA)),
    ("quota used up", AirflowException(QUOTA)),
    ("quota used up", BigQueryJobError(QUOTA, [{"text": QUOTA, "reason": "quotaExceeded"}])),
    (
        "quota used up",
        AirflowException("Custom quota exceeded: Your usage exceeded the custom quota for QueryUsagePerDay"),
    ),
    ("quota used up", kubernetes(403, 'pods "x" is forbidden: exceeded quota: compute, requested: pods=1')),
    (
        "quota used up",
        PodFailedError(f"{POD_LOG}google.api_core.exceptions.Forbidden: {job_error('quotaExceeded', QUOTA)}"),
    ),
    ("service overloaded", google.ServiceUnavailable("try again")),
    ("service overloaded", google.InternalServerError("oh")),
    ("service overloaded", google.GatewayTimeout("oh")),
    ("service overloaded", google.DeadlineExceeded("oh")),
    ("service overloaded", job_error("backendError", "oh")),
    ("service overloaded", operator_error("internalError", "oh")),
    ("service overloaded", kubernetes(503, "apiserver is shutting down")),
    (
        "service overloaded",
        AirflowException("503, message='Service Unavailable', url='https://bigquery.googleapis.com/'"),
    ),
    ("pod preempted", PodFailedError("Pod task-1 returned a failure.\nEvicted: the pod is Failed.")),
    ("pod preempted", PodFailedError("Pod task-1 returned a failure.\nPreempting: the pod is Failed.")),
    ("image missing", cannot_pull("InvalidImageName", "couldn't parse image name")),
    ("image missing", cannot_pull("ErrImagePull", 'failed to resolve reference "example.com/a:1": not found')),
    ("image missing", cannot_pull("ImagePullBackOff", 'Back-off pulling image "a": manifest unknown')),
    ("image missing", cannot_pull("ErrImagePull", "pull access denied, repository does not exist")),
    ("image pull back-off", cannot_pull("ImagePullBackOff", 'Back-off pulling image "example.com/a:1"')),
    ("image pull back-off", cannot_pull("ErrImagePull", "connection reset by peer")),
    ("result too large", job_error("responseTooLarge", "Response too large to return.")),
    ("result too large", BigQueryJobError("a.sql: too large", [{"text": "a.sql", "reason": "responseTooLarge"}])),
    ("access denied", google.Forbidden("no")),
    ("access denied", google.PermissionDenied("no")),
    ("access denied", job_error("accessDenied", DENIED)),
    ("access denied", operator_error("accessDenied", DENIED)),
    ("access denied", AirflowException(DENIED)),
    ("access denied", kubernetes(403, "pods is forbidden: User cannot create resource pods")),
    ("bad SQL", job_error("invalidQuery", SQL)),
    ("bad SQL", api_error(google.BadRequest, "invalidQuery", SQL)),
    ("bad SQL", operator_error("invalidQuery", SQL)),
    ("bad SQL", AirflowException(SQL)),
    ("bad SQL", BigQueryJobError(f"sql/p/d/t/query.sql:1:10: {SQL}", [{"text": SQL, "reason": "invalidQuery"}])),
    ("bad SQL", PodFailedError(f"{POD_LOG}BigQuery error in query operation: Error processing job\n'p:US.x': {SQL}")),
    ("access denied", PodFailedError(f"{POD_LOG}BigQuery error in cp operation: {DENIED}")),
    ("bad SQL", AirflowException("Unrecognized name: contry; Did you mean country? at [1:8]")),
    ("bad SQL", PodFailedError(f"{POD_LOG}google.api_core.exceptions.BadRequest: {job_error('invalidQuery', SQL)}")),
]


@pytest.mark.parametrize(("name", "error"), CASES, ids=lambda value: value if isinstance(value, str) else None)
def test_the_rule_of_an_error(name: str, error: BaseException) -> None:
    found = rule_of(error)
    assert found is not None, error
    assert found.name == name


def test_every_rule_is_tested() -> None:
    assert {name for name, _ in CASES} == {rule.name for rule in RULES}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        AirflowException("Test failed."),
        TaskDeferralError("Trigger failure"),
        google.NotFound("Not found: Table p:d.t"),
        operator_error("notFound", "Not found: Table p:d.t"),
        google.Unauthorized("token expired"),
        kubernetes(404, "pods x not found"),
        kubernetes(401, "Unauthorized"),
        PodLaunchTimeoutException("Pod took too long to start. More than 120s. Check the pod events in kubernetes."),
        PodFailedError("Pod task-1 returned a failure.\nExit code 137 (OOMKilled)."),
        # What a program says in passing is no sign of why it ended.
        PodFailedError(f"{POD_LOG}retrying: got 503\nAccess Denied: bucket a, using bucket b\nKeyError: 'x'"),
        PodFailedError(f"{POD_LOG}the reason: unknown"),
        SystemExit(1),
        OSError(403, "x"),
    ],
    ids=str,
)
def test_what_the_table_does_not_know_is_left_to_the_task(error: BaseException) -> None:
    assert rule_of(error) is None
    assert POLICY.evaluate(error, 1, 3).action is RetryAction.DEFAULT


def test_of_several_reasons_in_a_log_the_last_counts() -> None:
    log = f"{POD_LOG}reason: invalidQuery, location: query\nwithout the column then\nreason: backendError, location: x"
    found = rule_of(PodFailedError(log))
    assert found is not None
    assert found.name == "service overloaded"


def test_an_error_that_causes_itself_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert rule_of(first) is None


def test_back_off_doubles_up_to_the_longest() -> None:
    decisions = [POLICY.evaluate(google.TooManyRequests("x"), n, 10) for n in (1, 2, 3, 7, 500)]
    assert [d.retry_delay for d in decisions] == [*(timedelta(minutes=n) for n in (1, 2, 4)), LONGEST, LONGEST]
    assert {(d.action, d.reason) for d in decisions} == {(RetryAction.RETRY, "rate limit")}


@pytest.mark.parametrize(("seconds", "delay"), [(30, 60), (1800, 1800), (1_000_000, 3600)])
def test_a_time_that_fivetran_names_is_waited_for(seconds: int, delay: int) -> None:
    error = fivetran(429, headers={"Retry-After": str(seconds)}, limit=7)
    assert FaultRetryPolicy().evaluate(error, 1, 2).retry_delay == timedelta(seconds=delay)


def is_put_off(error: Exception, count: int = 0, policy: Any = POLICY) -> bool:
    task: Any = SimpleNamespace(retry_policy=policy)
    try:
        with waiting_out(task, {"task_reschedule_count": count}):  # type: ignore[typeddict-item]
            raise error
    except AirflowRescheduleException as off:
        return off.__cause__ is error
    except Exception as same:
        assert same is error
        return False


def test_a_try_is_put_off_for_what_passes_and_not_for_ever() -> None:
    passing = google.TooManyRequests("x")
    counts = (0, PUT_OFF - 1, PUT_OFF, PUT_OFF + 1)
    assert [is_put_off(passing, count) for count in counts] == [True, True, False, False]
    assert not is_put_off(google.Forbidden("no"))
    assert not is_put_off(ValueError("x"))
    assert not is_put_off(passing, policy=None)
    assert not is_put_off(passing, policy=ExceptionRetryPolicy(rules=[]))


@pytest.mark.parametrize("end", [AirflowFailException, AirflowSkipException])
def test_what_ends_a_task_at_once_is_not_put_off_whatever_caused_it(end: type[Exception]) -> None:
    error = end("for good")
    error.__cause__ = google.TooManyRequests("x")
    assert not is_put_off(error)


def test_what_is_put_off_once_is_not_put_off_again() -> None:
    """One part of a task may call another."""
    task: Any = SimpleNamespace(retry_policy=POLICY)
    context: Any = {"task_reschedule_count": 0}
    with pytest.raises(AirflowRescheduleException) as off, waiting_out(task, context), waiting_out(task, context):
        raise google.TooManyRequests("x")
    assert isinstance(off.value.__cause__, google.TooManyRequests)


def test_what_would_fail_again_fails_at_once() -> None:
    decision = POLICY.evaluate(google.Forbidden("no"), 1, 3)
    assert (decision.action, decision.retry_delay, decision.reason) == (RetryAction.FAIL, None, "access denied")


def test_every_rule_that_retries_has_a_delay_and_no_other() -> None:
    assert all((rule.action is RetryAction.RETRY) == (rule.delay is not None) for rule in RULES)


def dag(**args: Any) -> DAG:
    with DAG("d", schedule=None, default_args=default_args(owner="ads", **args)) as made:
        EmptyOperator(task_id="t")
        EmptyOperator.partial(task_id="mapped").expand(doc=["a", "b"])
    return made


def test_default_args_give_it_to_tasks_and_mapped_tasks() -> None:
    made = dag()
    assert [task.retry_policy for task in made.tasks] == [POLICY, POLICY]
    assert dag(retry_policy=None).get_task("t").retry_policy is None


def test_a_dag_with_it_is_serialized_the_same_at_each_parse() -> None:
    first, second = (DagSerialization.to_dict(dag()) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert "0x" not in json.dumps(first), "an address in memory would make a new version of the DAG at each parse"
    restored = DagSerialization.from_dict(first)
    assert set(restored.task_ids) == {"t", "mapped"}


def test_the_policy_is_itself_after_serialization() -> None:
    policy = FaultRetryPolicy(longest=timedelta(seconds=5))
    assert FaultRetryPolicy.deserialize(json.loads(json.dumps(policy.serialize()))) == policy


@pytest.mark.parametrize(("address", "longest"), [("", LONGEST), ("http://127.0.0.1:1", timedelta(seconds=5))])
def test_offline_nobody_waits_for_a_quota(monkeypatch: pytest.MonkeyPatch, address: str, longest: timedelta) -> None:
    import airflow_local_settings

    for name in ("STORAGE_EMULATOR_HOST", "FIVETRAN_API_URL", "WTMO_GKE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
    for task in dag().tasks:
        airflow_local_settings.task_policy(task)
        assert task.retry_policy == FaultRetryPolicy(longest=longest)


def test_tasks_of_generated_files_have_it_too_and_one_that_names_its_own_keeps_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import airflow_local_settings

    for name in ("BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "FIVETRAN_API_URL", "WTMO_GKE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    own = ExceptionRetryPolicy(rules=[])
    with DAG("generated", schedule=None, default_args={"retries": 2}):
        plain, chosen = EmptyOperator(task_id="plain"), EmptyOperator(task_id="chosen", retry_policy=own)
    for task in (plain, chosen):
        airflow_local_settings.task_policy(task)
    assert plain.retry_policy == FaultRetryPolicy()
    assert chosen.retry_policy is own


def test_airflow_follows_it_within_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own code with a task that has retries left, and with one that has none."""
    from airflow.sdk.execution_time import task_runner

    def outcome(error: BaseException, *, left: bool) -> tuple[str, float | None]:
        server = SimpleNamespace(max_tries=2, should_retry=left)
        ti: Any = SimpleNamespace(
            task=dag().get_task("t"),
            try_number=1,
            _ti_context_from_server=server,
            rendered_map_index=None,
            stats_tags={},
            _failure_metrics_emitted=True,
            end_date=None,
        )
        message, state = task_runner._handle_current_task_failed(ti, error, task_runner.log)
        return state.value, getattr(message, "retry_delay_seconds", None)

    assert outcome(google.TooManyRequests("x"), left=True) == ("up_for_retry", 60)
    assert outcome(google.Forbidden("x"), left=True) == ("failed", None)
    assert outcome(ValueError("x"), left=True) == ("up_for_retry", None)
    assert outcome(google.TooManyRequests("x"), left=False) == ("failed", None), "a policy cannot exceed retries"
