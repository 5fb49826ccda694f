"""Which failures are worth another try, and which would only fail again: one table, for every task.

:func:`utils.defaults.default_args` gives it to the tasks of a hand-written DAG as ``retry_policy``, the cluster policy
(``config/airflow_local_settings.py``) to every task that has none, so to those of generated DAGs. Airflow (3.3) asks the policy
in the worker when a task has failed, also one that had been deferred, with the exception of the task. What Airflow allows:

- A policy **cannot exceed ``retries``**: "retry" sets the delay before the next try, and does not give one more.
- A task can put itself off, as a sensor does, and then runs again in the same try, also with ``retries=0``. It has to know what it had
  begun, so it is for operators of ours: pods, native queries and Fivetran's syncs do (:func:`waiting_out`), up to five times a try. A pod's
  program may have done a part of its work, so the pod of a task with ``retries=0`` is not run again. Of any other task a fault of
  this table uses up one of its own retries, and without any left it fails.
- "fail" ends the task at once, whatever ``retries`` says. A failed check in SQL (``ERROR()``) is an invalid query too.
- ``AirflowFailException`` and a sensor's time-out always fail at once, and a task whose process was killed is retried by
  the scheduler: the policy is not asked.
- The policy is not part of the serialized DAG. The worker has it from the DAG file; the scheduler sees the delay and the
  reason, which the UI shows at the task.

:class:`airflow.sdk.ExceptionRetryPolicy` goes by the class of the exception and has one fixed delay. Here that is not
enough: BigQuery answers a used-up quota and a denied access with the same class (``Forbidden``), and after a deferral every
failure is an ``AirflowException`` with a text.
"""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from airflow.sdk import RetryAction, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from airflow.sdk import BaseOperator, Context

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaultRule:
    """One line of the table. It holds for an error that shows any one of its signs.

    :param name: what happened, in the words that the log and the UI show.
    :param action: RETRY or FAIL.
    :param delay: before the second try; doubled for each one after it, and at least what Fivetran names. None: for FAIL.
    :param codes: HTTP status codes.
    :param reasons: reasons by which BigQuery, gRPC or Kubernetes name an error, exactly.
    :param says: a pattern that occurs in the error's text.
    """

    name: str
    action: RetryAction
    delay: timedelta | None = None
    codes: frozenset[int] = frozenset()
    reasons: frozenset[str] = frozenset()
    says: re.Pattern[str] | None = None


def _minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


# Where an error of BigQuery is the whole text, or the `bq` program in a pod has printed it, broken into lines anywhere.
_BIGQUERY = r"(?:\A|^BigQuery\s+error\s+in\s+\w+\s+operation:\s+(?:Error\s+processing\s+job\s+'[^']*':\s+)?)"
_CANNOT_PULL = r"Image cannot be pulled, unable to start: "

# The first that holds wins: a used-up quota is a 403 too. Reasons: BigQuery's "Error messages" page, gRPC's status codes,
# Kubernetes' `status.reason` of a pod. Texts: BigQuery's own where a trigger passes on nothing else, and those of
# cncf-kubernetes 10.25.0 (`detect_pod_terminate_early_issues`) with what registries say.
RULES = (
    FaultRule(
        "rate limit",
        RetryAction.RETRY,
        _minutes(1),
        codes=frozenset({429}),
        reasons=frozenset({"rateLimitExceeded", "jobRateLimitExceeded", "userRateLimitExceeded"}),
        says=re.compile(_BIGQUERY + r"Exceeded\s+rate\s+limits:", re.MULTILINE),
    ),
    FaultRule(
        "quota used up",
        RetryAction.RETRY,
        _minutes(10),
        reasons=frozenset({"quotaExceeded", "RESOURCE_EXHAUSTED"}),
        says=re.compile(_BIGQUERY + r"(?:Custom\s+q|Q)uota\s+exceeded|is forbidden: exceeded quota:", re.MULTILINE),
    ),
    FaultRule(
        "service overloaded",
        RetryAction.RETRY,
        _minutes(1),
        codes=frozenset({500, 502, 503, 504}),
        reasons=frozenset({"backendError", "internalError", "jobBackendError", "jobInternalError", "UNAVAILABLE"}),
    ),
    FaultRule(
        "pod preempted",
        RetryAction.RETRY,
        _minutes(1),
        reasons=frozenset({"Evicted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "TerminationByKubelet"}),
        says=re.compile(
            r"^(?:Evicted|Preempting|NodeLost|NodeShutdown|Shutdown|Terminated): the pod is ", re.MULTILINE
        ),
    ),
    FaultRule(
        "image missing",
        RetryAction.FAIL,
        says=re.compile(
            _CANNOT_PULL + r"(?:InvalidImageName|ErrImageNeverPull|(?:ErrImagePull|ImagePullBackOff)\n[^\n]*"
            r"(?i:not found|manifest unknown|does not exist|denied|forbidden|unauthorized))"
        ),
    ),
    FaultRule("image pull back-off", RetryAction.RETRY, _minutes(2), says=re.compile(_CANNOT_PULL)),
    # A 403 too, which it would be told as otherwise.
    FaultRule("result too large", RetryAction.FAIL, reasons=frozenset({"responseTooLarge"})),
    FaultRule(
        "access denied",
        RetryAction.FAIL,
        codes=frozenset({403}),
        reasons=frozenset({"accessDenied", "PERMISSION_DENIED"}),
        says=re.compile(_BIGQUERY + r"Access\s+Denied:", re.MULTILINE),
    ),
    FaultRule(
        "bad SQL",
        RetryAction.FAIL,
        reasons=frozenset({"invalidQuery"}),
        says=re.compile(_BIGQUERY + r"(?:Syntax\s+error:|[^\n]* at \[\d+:\d+\]$)", re.MULTILINE),
    ),
)
LONGEST = timedelta(hours=1)
PUT_OFF = 5
"""How often a try is put off at the most: half an hour in all for a rate limit, three hours for a quota."""

_REASONS = frozenset(reason for rule in RULES for reason in rule.reasons)
# As Google's client prints an error ("reason: x, location: .."), as its dictionary is printed, and as JSON.
_REASON = re.compile(r"""\breason['"]?: ['"]?(\w+)""")
# How the messages of Google's and Kubernetes' clients begin: "403 POST https..", "(403)\nReason:", "403, message=", and
# what our Fivetran hook says.
_CODE = re.compile(r"\A(?:\(?|[^\n]*: Fivetran answered )([45]\d\d)\)?[ ,:\n]")
_TOLD = re.compile(r"\A[^\n]*: Fivetran answered .*\(to be tried again in (\d{1,9}) s,", re.DOTALL)


class _Sign:
    """What can be told of one exception."""

    def __init__(self, error: BaseException) -> None:
        """Hold the exception."""
        self.error = error

    @cached_property
    def text(self) -> str:
        """Its message."""
        return str(self.error)

    @cached_property
    def code(self) -> int | None:
        """The HTTP status that the service answered, of whichever client."""
        # Airflow's own exceptions have a status_code too, 500, which no service answered.
        error = None if isinstance(self.error, AirflowException) else self.error
        for holder in (error, getattr(error, "response", None), getattr(error, "resp", None)):
            for name in ("code", "status", "status_code"):
                value = getattr(holder, name, None)
                if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
                    return int(value)
        found = _CODE.match(self.text)
        return int(found[1]) if found else None

    @cached_property
    def reason(self) -> str | None:
        """The service's own name for the error. Of several in a text the last: a pod's log ends with what ended it."""
        listed = getattr(self.error, "errors", None)
        details = [e.get("reason") for e in listed if isinstance(e, dict)] if isinstance(listed, list | tuple) else []
        known = [reason for reason in [*_REASON.findall(self.text), *details] if reason in _REASONS]
        return known[-1] if known else None

    def shows(self, rule: FaultRule) -> bool:
        """Whether the rule holds for it."""
        return (
            self.code in rule.codes
            or self.reason in rule.reasons
            or (rule.says is not None and rule.says.search(self.text) is not None)
        )


def _signs(error: BaseException) -> Iterator[_Sign]:
    """Of the exception and of those that it was raised from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield _Sign(link)
        link = link.__cause__


def rule_of(error: BaseException) -> FaultRule | None:
    """The first rule that holds for an exception or what it was raised from; None where the table says nothing."""
    signs = list(_signs(error))
    return next((rule for rule in RULES if any(sign.shows(rule) for sign in signs)), None)


@dataclass(frozen=True)
class FaultRetryPolicy(RetryPolicy):
    """What :data:`RULES` say; for an error that they don't know, the task's own ``retries`` and ``retry_delay``.

    :param longest: the longest delay. Default: an hour.
    """

    longest: timedelta = LONGEST

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide after try ``try_number`` (from 1) failed. ``max_tries`` and ``context`` make no difference."""
        rule = rule_of(exception)
        if rule is None:
            return RetryDecision.default()
        if rule.delay is None:
            return RetryDecision(rule.action, reason=rule.name)
        # Beyond that any delay is the longest; a task that was cleared often has high numbers.
        doublings = min(max(try_number - 1, 0), 10)
        told = _TOLD.match(str(exception))
        delay = max(rule.delay * 2**doublings, timedelta(seconds=int(told[1]) if told else 0))
        return RetryDecision(rule.action, retry_delay=min(delay, self.longest), reason=rule.name)

    def serialize(self) -> dict[str, Any]:
        """As JSON; the table is code and no part of it."""
        return {"longest": self.longest.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """The policy of :meth:`serialize`."""
        return cls(longest=timedelta(seconds=data["longest"]))


def passes(reason: str) -> bool:
    """Whether an error that a service names so may pass."""
    return any(reason in rule.reasons for rule in RULES if rule.action is RetryAction.RETRY)


def times_put_off(context: Context) -> int:
    """How often this try was put off."""
    return context.get("task_reschedule_count", 0)


@contextlib.contextmanager
def waiting_out(task: BaseOperator, context: Context, *, unless: Callable[[], bool] = lambda: False) -> Generator[None]:
    """Within the block, an error that may pass puts the task off: it runs again in the same try, later, from ``execute()`` on.

    Not where the try was put off :data:`PUT_OFF` times, for an error that ends a task at once, or for a task whose policy is not
    that of this table. What the task has begun must have ended by then, or be found again by its next ``execute()``, for which
    :func:`times_put_off` says one more.

    :param unless: asked when there is an error; True: it is left as it is. Default: never.
    :raises AirflowRescheduleException: the task is to be put off.
    """
    try:
        yield
    except (AirflowFailException, AirflowSkipException, AirflowRescheduleException):
        raise
    except Exception as error:
        policy, count = task.retry_policy, times_put_off(context)
        if unless() or not isinstance(policy, FaultRetryPolicy) or count >= PUT_OFF:
            raise
        decision = policy.evaluate(error, count + 1, 0)
        if decision.action is not RetryAction.RETRY or decision.retry_delay is None:
            raise
        log.warning(
            "Put off for %s, %d of %d times (%s). It uses up no retry: %s",
            decision.retry_delay,
            count + 1,
            PUT_OFF,
            decision.reason,
            error,
        )
        raise AirflowRescheduleException(datetime.now(UTC) + decision.retry_delay) from error
