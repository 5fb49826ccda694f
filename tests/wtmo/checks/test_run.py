"""A check that could not be made is never a pass; silences have a reason and an end; each report says the same."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from tests.wtmo.checks.made import dag, inventory, task
from utils.callbacks import TellTeam
from wtmo.checks import report, routing, run, silence
from wtmo.checks.rule import OWN, RULES, Finding, Look, Rule, Severity, of_dag, of_file, of_task, rule
from wtmo.checks.silence import Silence
from wtmo.errors import WtmoError
from wtmo.graph.model import File, Inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

TODAY = dt.date(2026, 6, 1)
ROOT = Path(__file__).resolve().parents[3]


def made(check: Any, *, code: str = "XXX001", severity: Severity = Severity.error) -> Rule:
    return Rule(code, "made", "Why.", "Type this.", "Page.", severity, check)


def finds(look: Look) -> Iterator[Finding]:
    for of, each in look.tasks():
        yield of_task(of, each, f"it is {each.task_id}")


def fails(look: Look) -> Iterator[Finding]:
    yield of_dag(look.dags["d"], "one")
    raise KeyError("nobody")


# --- running


def test_a_finding_is_complete() -> None:
    result = run.check(inventory(dag()), only=[made(finds)], today=TODAY)
    assert result.findings == (
        Finding("it is t", "Type this.", OWN, "etl/d.py", 9, "d", "t", "XXX001", Severity.error),
    )
    assert (result.dags, result.tasks, result.files, result.exit_status) == (1, 1, 1, 1)


def test_warnings_alone_pass() -> None:
    assert run.check(inventory(dag()), only=[made(finds, severity=Severity.warning)], today=TODAY).exit_status == 0


def test_no_finding_passes() -> None:
    assert run.check(inventory(dag()), only=[made(lambda look: ())], today=TODAY).exit_status == 0


def test_a_rule_that_fails_is_an_error_that_names_it() -> None:
    result = run.check(inventory(dag()), only=[made(fails), made(finds, code="XXX002")], today=TODAY)
    (broken,) = [found for found in result.findings if found.code == "CHK001"]
    assert "rule XXX001 (made) could not run: KeyError: 'nobody'" in broken.message
    assert (broken.file, broken.severity) == ("tests/wtmo/checks/test_run.py", Severity.error)
    assert [found.code for found in result.findings if found.code != "CHK001"] == ["XXX002"], "the others are run"
    assert result.exit_status == 2


def test_a_rule_that_fails_is_told_whatever_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "etl").mkdir()
    found = inventory(dag("d"), dag("e"))
    result = run.check(found, roots={OWN: tmp_path}, paths=[tmp_path / "etl" / "e.py"], only=[made(fails)], today=TODAY)
    assert [each.code for each in result.findings] == ["CHK001"]


def test_nothing_to_check_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(WtmoError, match="there is no DAG file: nothing was checked"):
        run.check(Inventory("2026-06-01", ()), today=TODAY)
    with pytest.raises(WtmoError, match="nothing was checked"):
        run.check(inventory(dag()), roots={OWN: tmp_path, "bigquery-etl": tmp_path / "other"}, today=TODAY)


def test_paths_narrow_what_is_told_not_what_is_known(tmp_path: Path) -> None:
    known: list[str] = []

    def looks(look: Look) -> Iterator[Finding]:
        known.extend(look.dags)
        yield from finds(look)

    found = inventory(dag("d"), dag("e"), dag("f", file="bi/f.py"))
    for path, told in (("etl/d.py", {"d"}), ("etl", {"d", "e"}), (".", {"d", "e", "f"})):
        known.clear()
        result = run.check(found, roots={OWN: tmp_path}, paths=[tmp_path / path], only=[made(looks)], today=TODAY)
        assert {each.dag_id for each in result.findings} == told
        assert result.dags == len(told)
        assert known == ["d", "e", "f"]
    with pytest.raises(WtmoError, match="is no DAG file and no folder of them"):
        run.check(found, roots={OWN: tmp_path}, paths=[tmp_path / "etl", tmp_path / "g.py"], today=TODAY)


def test_every_rule_has_what_its_page_says() -> None:
    assert len(run.rules()) > 30
    for code, each in run.rules().items():
        assert each.code == code
        assert each.reason.endswith("."), code
        assert each.fix.endswith("."), code
        assert each.page.endswith("."), code


def test_a_code_is_given_once_and_a_page_is_needed() -> None:
    with pytest.raises(ValueError, match="the code LOD001 is taken by loads"):
        rule("LOD001", "Why.", fix="This.")(finds)
    with pytest.raises(ValueError, match="rule XXX009 has no docstring"):
        rule("XXX009", "Why.", fix="This.")(finds)
    assert "XXX009" not in RULES


def test_a_dag_of_a_refused_file_may_exist(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text('DAG("second-dag")')
    look = Look(
        inventory(dag(), refused=(File(OWN, "two.py", refused="broken", refused_kind="syntax"),)), {OWN: tmp_path}
    )
    assert look.hidden("second-dag") is not None
    assert look.hidden("two") is not None
    assert look.hidden("third") is None


# --- what depends on the machine


@pytest.mark.parametrize(
    ("kind", "code"), [("late", "LOD007"), ("memory", "LOD007"), ("died", "LOD001"), ("other", "LOD001")]
)
def test_a_file_that_is_not_loaded_is_found(kind: str, code: str) -> None:
    result = run.check(
        inventory(refused=(File(OWN, "a.py", refused="it is not", refused_kind=kind, line=3),)), today=TODAY
    )
    assert [(found.code, found.file, found.line) for found in result.findings] == [(code, "a.py", 3)]
    assert result.exit_status == 1


def test_a_slow_file_is_told() -> None:
    slow = File(OWN, "etl/d.py", seconds=5.5, dags=(dag(),))
    result = run.check(Inventory("2026-06-01", (slow,)), today=TODAY)
    assert [(found.code, found.message) for found in result.findings] == [
        ("LOD010", "takes 5.5 s to load, more than 5")
    ]
    assert result.exit_status == 0
    quick = File(OWN, "etl/d.py", seconds=4.9, dags=(dag(),))
    assert run.check(Inventory("2026-06-01", (quick,)), today=TODAY).findings == ()


# --- silences


def silences(*given: Silence, code: str = "LOD001") -> run.Result:
    look_at = inventory(dag("d", task("a"), task("b")), dag("e"))
    return run.check(
        look_at,
        only=[made(finds, code=code)],
        silences=given,
        silences_file=ROOT / "config" / "silences.toml",
        today=TODAY,
    )


UNTIL = dt.date(2026, 7, 1)


def test_a_silence_covers_what_it_says() -> None:
    result = silences(Silence("LOD001", "d", "known", UNTIL, "a*"))
    assert [report.subject(found) for found in result.findings] == ["d.b", "e.t"]
    assert [(report.subject(found), known.reason) for found, known in result.silenced] == [("d.a", "known")]
    assert len(silences(Silence("LOD001", "d", "known", UNTIL)).silenced) == 2


def test_the_last_day_is_silent() -> None:
    assert len(silences(Silence("LOD001", "d", "known", TODAY)).silenced) == 2


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (Silence("LOD001", "d", "known", dt.date(2026, 5, 31), line=4), "SIL001", "ended on 2026-05-31"),
        (Silence("LOD999", "d", "known", UNTIL, line=4), "SIL002", "a rule that does not exist"),
        (Silence("LOD001", "g", "known", UNTIL, line=4), "SIL003", "a DAG that does not exist"),
        (Silence("LOD002", "d", "known", UNTIL, line=4), "SIL004", "silences nothing"),
        (Silence("LOD001", "d", "known", UNTIL, "c", line=4), "SIL004", "silences nothing"),
        (Silence("LOD001", "d", "known", dt.date(2027, 6, 3), line=4), "SIL005", "longer than 366 days"),
    ],
)
def test_a_bad_silence_silences_nothing_and_is_found(given: Silence, code: str, message: str) -> None:
    result = silences(given)
    assert not result.silenced
    (bad,) = [found for found in result.findings if found.code != "LOD001"]
    assert (bad.code, bad.file, bad.line, bad.dag_id) == (code, "config/silences.toml", 4, given.dag_id)
    assert message in bad.message
    assert result.exit_status == 1


def test_a_silence_of_a_bundle_that_is_not_at_hand_is_not_judged() -> None:
    assert not [
        found
        for found in silences(Silence("LOD001", "g", "known", UNTIL, needs="bigquery-etl")).findings
        if found.code.startswith("SIL")
    ]


GOOD = '[[silence]]\ncode = "LOD001"\ndag = "d"\nreason = "known"\nuntil = 2026-07-01\n'


def test_silences_are_read(tmp_path: Path) -> None:
    file = tmp_path / "silences.toml"
    assert silence.read(file) == ()
    file.write_text(f'# why\n{GOOD}\n{GOOD}task = "a*"\nneeds = "bigquery-etl"\n')
    assert silence.read(file) == (
        Silence("LOD001", "d", "known", UNTIL, line=2),
        Silence("LOD001", "d", "known", UNTIL, "a*", "bigquery-etl", line=8),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[silence]", "is not TOML"),
        ("[other]\n", "something else than silences"),
        ('silence = "all"\n', "something else than silences"),
        (GOOD.replace("until = 2026-07-01\n", ""), r"silences.toml:1: a silence has no last day"),
        (GOOD.replace("2026-07-01", '"2026-07-01"'), "has no last day"),
        (GOOD.replace("2026-07-01", "2026-07-01T00:00:00"), "has no last day"),
        (GOOD.replace('reason = "known"\n', ""), "has no reason"),
        (GOOD.replace('"known"', '" "'), "has no reason"),
        (GOOD.replace("dag =", "dags ="), "has the key 'dags'"),
    ],
)
def test_silences_that_say_too_little_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "silences.toml"
    file.write_text(text)
    with pytest.raises(WtmoError, match=message):
        silence.read(file)


def test_the_repository_s_silences_can_be_read() -> None:
    assert all(each.reason for each in silence.read())


# --- reports


ODD = '50 % of\nit, <all> & "more": \x00 \U0001f34e'


@pytest.fixture
def result() -> run.Result:
    def all_kinds(look: Look) -> Iterator[Finding]:
        yield of_task(look.dags["d"], look.dags["d"].tasks[0], ODD, fix="Type, this:\nand that.")
        yield of_file(look.inventory.files[0], "without a line")

    def warns(look: Look) -> Iterator[Finding]:
        yield of_dag(look.dags["d"], "mind")

    rules = [
        made(all_kinds, code="LOD001"),
        made(warns, code="LOD010", severity=Severity.warning),
        made(fails, code="LOD002"),
    ]
    return run.check(inventory(dag()), roots={OWN: ROOT / "dags"}, only=[*rules, RULES["LOD003"]], today=TODAY)


def test_github_s_annotations(result: run.Result) -> None:
    lines = list(report.github(result))
    assert all("\n" not in line for line in lines)
    assert (
        '::error file=dags/etl/d.py,line=9,title=LOD001 d.t::50 %25 of%0Ait, <all> & "more": \x00 \U0001f34e%0AType, this:%0Aand that.'
    ) in lines
    assert "::warning file=dags/etl/d.py,line=7,title=LOD010 d::mind%0AType this." in lines
    assert "::error file=dags/etl/d.py,title=LOD001::without a line%0AType this." in lines
    assert any(
        line.startswith("::error file=tests/wtmo/checks/test_run.py,line=") and "CHK001" in line for line in lines
    )


def test_a_file_outside_of_the_repository_has_no_annotation_of_its_own(tmp_path: Path) -> None:
    result = run.check(inventory(dag()), roots={OWN: tmp_path}, only=[made(finds)], today=TODAY)
    assert list(report.github(result)) == [f"::error title=XXX001 d.t::{tmp_path}/etl/d.py:9: it is t%0AType this."]


def test_junit_is_xml_and_counts(result: run.Result) -> None:
    root = ElementTree.fromstring(report.junit(result).encode())
    (suite,) = root
    assert suite.attrib | {"name": "", "time": ""} == {
        "name": "", "tests": "5", "failures": "2", "errors": "1", "skipped": "0", "time": ""
    }  # fmt: skip
    cases = {case.attrib["name"]: case for case in suite}
    assert cases["d.t dags/etl/d.py:9"].find("failure") is not None
    assert '50 % of\nit, <all> & "more": \N{REPLACEMENT CHARACTER} \U0001f34e' in str(
        cases["d.t dags/etl/d.py:9"][0].text
    )
    assert "warning: dags/etl/d.py:7: mind" in str(cases["d dags/etl/d.py:7"].findtext("system-out"))
    assert [case.attrib["classname"] for case in suite if not len(case)] == ["LOD003"]
    assert len(root.findall(".//error")) == 1


def test_json_holds_all(result: run.Result) -> None:
    told = json.loads(json.dumps(report.as_json(result)))
    assert told["exit_status"] == 2
    first = next(found for found in told["findings"] if found["task"])
    assert first == {
        "code": "LOD001", "severity": "error", "file": "dags/etl/d.py", "line": 9, "bundle": OWN, "dag": "d", "task": "t",
        "message": ODD, "fix": "Type, this:\nand that.",
    }  # fmt: skip
    silent = run.check(
        inventory(dag()),
        only=[made(finds, code="LOD001")],
        silences=[Silence("LOD001", "d", "known", UNTIL)],
        today=TODAY,
    )
    assert [(found["reason"], found["until"]) for found in report.as_json(silent)["silenced"]] == [
        ("known", "2026-07-01")
    ]


def test_the_summary_counts(result: run.Result) -> None:
    assert report.summary(result) == "3 errors, 1 warning, none silenced: 3 rules, 1 DAGs with 1 tasks in 1 files"


# --- alerts


def test_routing_follows_from_tags_and_owner() -> None:
    told = routing.routing(dag("d", task("a"), task("b", email_on_retry=False)))
    assert told.mail_on_failure == told.mail_on_retry == ("telemetry-alerts@mozilla.com",)
    assert (told.tier, told.owners, told.slack, told.triage) == ("tier_2", ("ads",), (), "the team itself")


def test_what_is_not_triaged_is_the_team_s() -> None:
    posts = repr(TellTeam("ads"))
    told = routing.routing(
        dag(
            "d",
            task(email=[], email_on_failure=False, on_failure_callback=[posts]),
            tags=("impact/tier_3", "triage/no_triage"),
        )
    )
    assert (told.mail_on_failure, told.mail_on_retry) == ((), ())
    assert told.slack == ("#dataops-alerts",)
    assert told.triage == "not triaged: the owner alone"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("triage/record_only", "written down by the triage engineer of the day, nobody acts"),
        ("triage/confidential", "the triage engineer of the day; bugs are confidential"),
    ],
)
def test_triage_is_said(tag: str, said: str) -> None:
    assert routing.routing(dag("d", task(owner="a@example.com"), tags=("impact/tier_3", tag))).triage == said
