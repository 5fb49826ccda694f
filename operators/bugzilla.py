"""Write into Bugzilla."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from utils.config import BUGZILLA_URL

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests
    from airflow.sdk import Context

UNRESOLVED = ("NEW", "ASSIGNED", "REOPENED")
_EMPTY = "^ *$"
_SECONDS_OF_ONE_REQUEST = 60
_TRIES = 5


class BugzillaTagBugsOperator(BaseOperator):
    """Sets the whiteboard of every unresolved bug of a component whose whiteboard is empty, by Bugzilla's REST API.

    A request that Bugzilla can't answer now (429, 502, 503, 504, no connection) is made again up to 5 times: after the time
    that it asks for (``Retry-After``), or else 1, 2, 4 .. seconds. A bug that can't be changed holds up none of the others; the
    task fails at the end and names it. Running it again changes only what is still empty.

    The result (XCom) is the list of the bugs that were changed.

    :param product: product of the bugs.
    :param component: its component.
    :param whiteboard: what the whiteboard is set to.
    :param api_key: of the account that changes them. (templated; keep it in a Variable whose name says that it is a key:
        Airflow then masks it)
    :param limit: how many bugs to change at most, the newest first.
    :param pause: seconds between two changes.
    :param base_url: Bugzilla's address, with scheme.
    :raises AirflowException: Bugzilla refuses the search or a change, or its answer is not one.
    """

    template_fields: Sequence[str] = ("api_key",)

    def __init__(
        self,
        *,
        product: str,
        component: str,
        whiteboard: str,
        api_key: str,
        limit: int = 500,
        pause: float = 0.5,
        base_url: str = BUGZILLA_URL,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.product = product
        self.component = component
        self.whiteboard = whiteboard
        self.api_key = api_key
        self.limit = limit
        self.pause = pause
        self.base_url = base_url

    def execute(self, context: Context) -> list[int]:
        """Tag the bugs."""
        failed: dict[int, str] = {}
        changed: list[int] = []
        with self._session() as session:
            bugs = self._untagged(session)
            self.log.info("%d bugs of %s :: %s have no whiteboard", len(bugs), self.product, self.component)
            for number, bug in enumerate(bugs):
                if number:
                    time.sleep(self.pause)
                if trouble := self._tag(session, bug):
                    failed[bug] = trouble
                    self.log.error("Bug %d: %s", bug, trouble)
                else:
                    changed.append(bug)
                    self.log.info("Bug %d: %s", bug, self.whiteboard)
        if failed:
            first, trouble = next(iter(failed.items()))
            raise AirflowException(f"{len(failed)} of {len(bugs)} bugs were not changed. Bug {first}: {trouble}")
        return changed

    def _session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry

        session = requests.Session()
        # In a header: of a URL or a form that fails, the error's text could show it.
        session.headers["X-BUGZILLA-API-KEY"] = self.api_key
        retries = Retry(
            total=_TRIES,
            backoff_factor=1,
            status_forcelist={
                HTTPStatus.TOO_MANY_REQUESTS,
                HTTPStatus.BAD_GATEWAY,
                HTTPStatus.SERVICE_UNAVAILABLE,
                HTTPStatus.GATEWAY_TIMEOUT,
            },
            allowed_methods={"GET", "PUT"},
            raise_on_status=False,
        )
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        return session

    def _untagged(self, session: requests.Session) -> list[int]:
        wanted: dict[str, str | list[str]] = {
            "product": self.product,
            "component": self.component,
            "status": list(UNRESOLVED),
            "status_whiteboard": _EMPTY,
            "status_whiteboard_type": "regexp",
            "include_fields": "id,whiteboard",
            "order": "bug_id DESC",
            "limit": str(self.limit),
        }
        answer = session.get(f"{self.base_url}/rest/bug", params=wanted, timeout=_SECONDS_OF_ONE_REQUEST)
        if not answer.ok:
            raise AirflowException(f"Bugzilla refused the search: {_trouble(answer)}")
        try:
            # A bug that somebody tagged meanwhile, or that the search should not have given, keeps its whiteboard.
            return [int(bug["id"]) for bug in answer.json()["bugs"] if not str(bug.get("whiteboard") or "").strip()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AirflowException(f"Bugzilla's answer is no list of bugs: {answer.text[:200]!r}") from error

    def _tag(self, session: requests.Session, bug: int) -> str | None:
        """What went wrong; None: the bug has its whiteboard."""
        from requests import RequestException

        try:
            answer = session.put(
                f"{self.base_url}/rest/bug/{bug}",
                json={"whiteboard": self.whiteboard},
                timeout=_SECONDS_OF_ONE_REQUEST,
            )
        except RequestException as error:
            return str(error)
        return None if answer.ok else _trouble(answer)


def _trouble(answer: requests.Response) -> str:
    """Status and text of a refusal, as Bugzilla words it."""
    try:
        text = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.text[:200]
    return f"{answer.status_code} {text}"
