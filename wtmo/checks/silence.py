"""Findings that are known and stay for a while: ``config/silences.toml``.

One entry a silence::

    [[silence]]
    code = "SEN002"
    dag = "adm_export"
    task = "wait_for_*"     # a glob; left out: any, and the DAG itself
    reason = "production's own mistake: the sensor is kept as it is there"
    until = 2027-03-31
    needs = "bigquery-etl"  # the bundle without which it can't be found; left out: the hand-written DAGs

A silence is only as good as its reason and its end: expired ones silence nothing, and those that say nothing of what is there are
findings themselves.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from utils.config import ROOT
from utils.names import did_you_mean
from wtmo.checks.rule import OWN, RULES, Finding, Look, Rule, Severity
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE = ROOT / "config" / "silences.toml"
LONGEST = dt.timedelta(days=366)
"""A silence that ends later than this is none that anybody will look at again."""

_KEYS = {"code", "dag", "task", "reason", "until", "needs"}


@dataclass(frozen=True)
class Silence:
    """A finding that is known and stays for a while.

    :param code: of the rule.
    :param dag_id: of the DAG.
    :param reason: why it stays.
    :param until: the last day on which it is silent.
    :param task_id: a glob of task ids. Default: any, and the DAG itself.
    :param needs: the bundle without which there is no such finding: the DAG's, or that of what it waits for. Where it is not at hand,
        nothing is said of the silence.
    :param line: of the file.
    """

    code: str
    dag_id: str
    reason: str
    until: dt.date
    task_id: str = "*"
    needs: str = OWN
    line: int | None = None

    def covers(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        if (self.code, self.dag_id) != (finding.code, finding.dag_id):
            return False
        return self.task_id == "*" if finding.task_id is None else fnmatchcase(finding.task_id, self.task_id)


def read(path: Path = FILE) -> tuple[Silence, ...]:
    """The silences of a file. None where there is no file.

    :raises WtmoError: it is not TOML, or an entry lacks what it needs.
    """
    if not path.is_file():
        return ()
    text = path.read_text()
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WtmoError(f"{path} is not TOML: {error}") from error
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*silence\s*\]\]", line)]
    entries = found.pop("silence", [])
    if found or not isinstance(entries, list) or len(lines) != len(entries):
        raise WtmoError(f"{path} holds something else than silences", fix="write each one as a table [[silence]]")
    return tuple(_silence(entry, path, line) for entry, line in zip(entries, lines, strict=True))


def _silence(entry: dict[str, Any], path: Path, line: int) -> Silence:
    where = f"{path}:{line}: a silence"
    for key in entry:
        if key not in _KEYS:
            raise WtmoError(f"{where} has the key {key!r}", fix=did_you_mean(key, _KEYS))
    for key in ("code", "dag", "reason"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise WtmoError(f"{where} has no {key}", fix=f'give it {key} = "..."')
    until = entry.get("until")
    if type(until) is not dt.date:
        raise WtmoError(f"{where} has no last day", fix="give it until = YYYY-MM-DD, without quotes")
    return Silence(
        entry["code"],
        entry["dag"],
        entry["reason"].strip(),
        until,
        entry.get("task", "*"),
        entry.get("needs", OWN),
        line,
    )


def apply(
    findings: Sequence[Finding], silences: Sequence[Silence], look: Look, *, today: dt.date, path: str
) -> tuple[list[Finding], list[tuple[Finding, Silence]]]:
    """What is left of findings, with what is wrong about the silences; and what they silence.

    :param path: the silences' file, as findings name it.
    """
    good = [silence for silence in silences if today <= silence.until <= today + LONGEST]
    left: list[Finding] = []
    silent: list[tuple[Finding, Silence]] = []
    for finding in findings:
        silence = next((each for each in good if each.covers(finding)), None)
        if silence is None:
            left.append(finding)
        else:
            silent.append((finding, silence))
    used = {silence for _, silence in silent}
    for silence in silences:
        if silence.needs in look.bundles and (said := _wrong(silence, look, today, silence in used)):
            code, message, fix = said
            left.append(
                Finding(message, fix, "", path, silence.line, silence.dag_id, code=code, severity=Severity.error)
            )
    return left, silent


def _wrong(silence: Silence, look: Look, today: dt.date, used: bool) -> tuple[str, str, str] | None:
    what = f"the silence of {silence.code}"
    if silence.code not in RULES:
        return "SIL002", f"{what} is of a rule that does not exist", did_you_mean(silence.code, RULES)
    if silence.dag_id not in look.dags and look.hidden(silence.dag_id) is None:
        return "SIL003", f"{what} is of a DAG that does not exist", did_you_mean(silence.dag_id, look.dags)
    if silence.until < today:
        return "SIL001", f"{what} ended on {silence.until}", ""
    if silence.until > today + LONGEST:
        return "SIL005", f"{what} lasts until {silence.until}, longer than {LONGEST.days} days", ""
    if not used and silence.dag_id in look.dags:
        return "SIL004", f"{what} silences nothing", ""
    return None


_ABOUT = (
    Rule(
        "SIL001",
        "expired",
        "A silence is for a while: what it said would be mended by then is not.",
        "Mend the DAG and remove the silence, or say in its reason why it stays, and give it another last day.",
        "The last day of a silence has not passed. An expired one silences nothing.",
    ),
    Rule(
        "SIL002",
        "unknown_code",
        "A misspelt code silences nothing.",
        "Name a code of docs/checks.md.",
        "A silence names a rule that exists.",
    ),
    Rule(
        "SIL003",
        "unknown_dag",
        "The DAG is gone or was misspelt.",
        "Remove the silence, or name a DAG.",
        "A silence names a DAG that exists. That of a bundle that is not at hand is not judged.",
    ),
    Rule(
        "SIL004",
        "silences_nothing",
        "What was wrong is mended, and the silence would hide it when it comes back.",
        "Remove it from config/silences.toml.",
        "A silence silences something.",
    ),
    Rule(
        "SIL005",
        "too_long",
        "A silence without an end in sight is a rule that nobody keeps.",
        "Give it a last day within a year.",
        "A silence ends within 366 days. A longer one silences nothing.",
    ),
)
RULES.update({each.code: each for each in _ABOUT})
