"""Tagging bugs: what is asked and changed, how patiently, and what one that fails does to the others."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk.exceptions import AirflowException

from operators.bugzilla import BugzillaTagBugsOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.loopback

KEY = "very-secret"


class Bugzilla(ThreadingHTTPServer):
    """Answers what it was told to, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bugs: Any = {"bugs": [{"id": 3, "whiteboard": ""}, {"id": 2, "whiteboard": " "}, {"id": 1}]}
        self.troubles: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]], Any, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Bugzilla

    def do_GET(self) -> None:
        self.answer(self.server.bugs)

    def do_PUT(self) -> None:
        self.answer({"bugs": [{}]})

    def answer(self, content: Any) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        key = self.headers["X-BUGZILLA-API-KEY"]
        sent = json.loads(body) if body else None
        self.server.asked.append((self.command, url.path, parse_qs(url.query), sent, key))
        waiting = self.server.troubles.get(url.path)
        status, headers, answer = waiting.pop(0) if waiting else (200, {}, json.dumps(content).encode())
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(answer))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def bugzilla() -> Iterator[Bugzilla]:
    server = Bugzilla()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have slept, each time."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def tag(server: Bugzilla, **differing: Any) -> list[int]:
    operator = BugzillaTagBugsOperator(
        **{
            "task_id": "t",
            "product": "Some Product",
            "component": "General",
            "whiteboard": "[tag]",
            "api_key": KEY,
            "base_url": server.url,
        }
        | differing
    )
    return operator.execute({})


def changes(server: Bugzilla) -> list[tuple[str, Any]]:
    return [(path, sent) for method, path, _, sent, _ in server.asked if method == "PUT"]


def test_every_untagged_bug_is_tagged_half_a_second_apart(bugzilla: Bugzilla, pauses: list[float]) -> None:
    assert tag(bugzilla) == [3, 2, 1]
    method, path, query, _, key = bugzilla.asked[0]
    assert (method, path, key) == ("GET", "/rest/bug", KEY)
    assert query == {
        "product": ["Some Product"],
        "component": ["General"],
        "status": ["NEW", "ASSIGNED", "REOPENED"],
        "status_whiteboard": ["^ *$"],
        "status_whiteboard_type": ["regexp"],
        "include_fields": ["id,whiteboard"],
        "order": ["bug_id DESC"],
        "limit": ["500"],
    }
    assert changes(bugzilla) == [(f"/rest/bug/{bug}", {"whiteboard": "[tag]"}) for bug in (3, 2, 1)]
    assert [pause for pause in pauses if pause] == [0.5, 0.5]


def test_a_bug_that_has_a_whiteboard_keeps_it(bugzilla: Bugzilla) -> None:
    bugzilla.bugs = {"bugs": [{"id": 1, "whiteboard": "[mine]"}]}
    assert tag(bugzilla) == []
    assert changes(bugzilla) == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_it_waits_as_long_as_it_is_told(bugzilla: Bugzilla, pauses: list[float], status: int) -> None:
    bugzilla.troubles["/rest/bug/2"] = [(status, {"Retry-After": "7"}, b""), (status, {"Retry-After": "9"}, b"")]
    assert tag(bugzilla) == [3, 2, 1]
    assert [pause for pause in pauses if pause > 1] == [7, 9]
    assert len(changes(bugzilla)) == 5


def test_it_does_not_wait_for_ever(bugzilla: Bugzilla) -> None:
    bugzilla.troubles["/rest/bug"] = [(503, {}, b"busy")] * 20
    with pytest.raises(AirflowException, match="503 busy"):
        tag(bugzilla)
    assert len(bugzilla.asked) == 6


def test_a_bug_that_fails_holds_up_no_other(bugzilla: Bugzilla) -> None:
    bugzilla.troubles["/rest/bug/3"] = [(401, {}, json.dumps({"message": "You are not authorized"}).encode())]
    with pytest.raises(
        AirflowException, match=r"1 of 3 bugs were not changed. Bug 3: 401 You are not authorized"
    ) as error:
        tag(bugzilla)
    assert [path for path, _ in changes(bugzilla)] == ["/rest/bug/3", "/rest/bug/2", "/rest/bug/1"]
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"bugs": None}, {"bugs": ["1"]}, {"bugs": [{"id": "1/../../user"}]}, {"bugs": [{"id": None}]}],
)
def test_an_answer_that_is_no_list_of_bugs_changes_nothing(bugzilla: Bugzilla, answer: Any) -> None:
    bugzilla.bugs = answer
    with pytest.raises(AirflowException, match="no list of bugs"):
        tag(bugzilla)
    assert changes(bugzilla) == []


def test_a_refused_search_shows_no_key(bugzilla: Bugzilla) -> None:
    bugzilla.troubles["/rest/bug"] = [(400, {}, b"<html>bad request</html>")]
    with pytest.raises(AirflowException, match="refused the search: 400 <html>bad request") as error:
        tag(bugzilla)
    assert KEY not in str(error.value)
