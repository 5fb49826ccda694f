"""What a check found, for people, for GitHub, for other CI systems and for programs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from wtmo.checks.rule import RULES, Severity
from wtmo.checks.run import COULD_NOT_RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding
    from wtmo.checks.run import Result

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_JINJA = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_JINJA.filters["xml"] = lambda text: _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
_JUNIT = _JINJA.from_string("""\
<?xml version="1.0" encoding="UTF-8"?>
{% set counts %}name="wtmo check" tests="{{ cases | length }}" failures="{{ failures }}" errors="{{ errors }}"{% endset %}
<testsuites {{ counts }}>
<testsuite {{ counts }} skipped="0" time="0">
{% for case in cases %}
<testcase classname="{{ case.of }}" name="{{ case.name | xml }}" time="0">
{% if case.kind == "warning" %}
<system-out>warning: {{ case.text | xml }}</system-out>
{% elif case.kind %}
<{{ case.kind }} type="{{ case.of }}" message="{{ case.message | xml }}">{{ case.text | xml }}</{{ case.kind }}>
{% endif %}
</testcase>
{% endfor %}
</testsuite>
</testsuites>
""")


def subject(finding: Finding) -> str:
    """``dag.task``, ``dag``, or nothing."""
    return ".".join(part for part in (finding.dag_id, finding.task_id) if part)


def place(result: Result, finding: Finding) -> str:
    """``file:line``."""
    path = result.path(finding)
    return f"{path}:{finding.line}" if finding.line else path


def summary(result: Result) -> str:
    """How much was looked at and found, in one sentence."""
    counted = Counter(finding.severity for finding in result.findings)
    errors, warnings = counted[Severity.error], counted[Severity.warning]
    said = (
        f"{errors or 'no'} error{'' if errors == 1 else 's'}, {warnings or 'no'} warning{'' if warnings == 1 else 's'}"
    )
    return (
        f"{said}, {len(result.silenced) or 'none'} silenced: {len(result.ran)} rules, {result.dags} DAGs with {result.tasks} tasks "
        f"in {result.files} files"
    )


def as_json(result: Result) -> dict[str, Any]:
    """For programs."""

    def told(finding: Finding) -> dict[str, Any]:
        return {
            "code": finding.code,
            "severity": finding.severity.value,
            "file": result.path(finding) or None,
            "line": finding.line,
            "bundle": finding.bundle or None,
            "dag": finding.dag_id,
            "task": finding.task_id,
            "message": finding.message,
            "fix": finding.fix,
        }

    return {
        "exit_status": result.exit_status,
        "dags": result.dags,
        "tasks": result.tasks,
        "files": result.files,
        "rules": list(result.ran),
        "findings": [told(finding) for finding in result.findings],
        "silenced": [
            told(finding) | {"reason": silence.reason, "until": silence.until.isoformat()}
            for finding, silence in result.silenced
        ],
    }


def github(result: Result) -> Iterator[str]:
    """GitHub's workflow commands: each finding beside its line in a pull request."""
    for finding in result.findings:
        path = result.path(finding)
        properties = {"title": " ".join(part for part in (finding.code, subject(finding)) if part)}
        # GitHub knows the files of the repository alone.
        if path and not Path(path).is_absolute():
            properties = {"file": path, **({"line": str(finding.line)} if finding.line else {})} | properties
            where = ""
        else:
            where = f"{place(result, finding)}: " if path else ""
        given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        text = f"{where}{finding.message}\n{finding.fix}".strip()
        yield f"::{finding.severity.value} {given}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def junit(result: Result) -> str:
    """JUnit's XML: a test case for each rule that found nothing, and one for each finding. Warnings pass, and say so."""
    found = Counter(finding.code for finding in result.findings)
    cases = [{"of": code, "name": RULES[code].reason, "kind": None} for code in result.ran if not found[code]]
    for finding in result.findings:
        where = place(result, finding)
        kind = "error" if finding.code == COULD_NOT_RUN else "failure"
        cases.append({
            "of": finding.code,
            "name": " ".join(part for part in (subject(finding), where) if part) or finding.code,
            "kind": "warning" if finding.severity is Severity.warning else kind,
            "message": finding.message,
            "text": f"{where}: {finding.message}\n{finding.fix}".strip(),
        })
    counts = Counter(case["kind"] for case in cases)
    return _JUNIT.render(cases=cases, failures=counts["failure"], errors=counts["error"]) + "\n"


def by_rule(result: Result) -> list[dict[str, Any]]:
    """How often each rule found something, errors first."""
    counted = Counter(finding.code for finding in result.findings)
    silenced = Counter(finding.code for finding, _ in result.silenced)
    return [
        {
            "code": code,
            "severity": RULES[code].severity.value,
            "found": counted[code],
            "silenced": silenced[code] or None,
            "why": RULES[code].reason,
        }
        for code in sorted(counted, key=lambda code: (RULES[code].severity, code))
    ]
