"""``docs/checks.md``: every rule, made from the rules themselves. The same rules give the same page, byte for byte."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from utils.config import ROOT
from wtmo.checks.run import rules
from wtmo.checks.silence import LONGEST

if TYPE_CHECKING:
    from pathlib import Path

    from wtmo.checks.rule import Rule

PAGE = ROOT / "docs" / "checks.md"

FAMILIES = {
    "LOD": "Loading",
    "POL": "Owner, tier, tags, default arguments",
    "ALR": "Alerts",
    "TIM": "Limits of time",
    "DOC": "Pages",
    "SEN": "Sensors and markers",
    "TPL": "Templates",
    "POD": "Pods",
    "DEC": "What is declared",
    "CMD": "Commands and parameters",
    "SQL": "Queries",
    "POOL": "Pools",
    "SIL": "Silences",
    "CHK": "The check itself",
}
"""What the letters of a code stand for."""

_HEAD = """\
# Checks

`make check` (`.venv/bin/wtmo check`) reads all DAGs, hand-written and imported, in a sandbox, without network or database, and says what
cannot work: what is wrong, where, and what to type. CI refuses a change with an error; a warning is told and does not stop it. This page
is made by `make docs` from the rules themselves; `make test` fails when it is not what they say.

    .venv/bin/wtmo check                       # all DAGs
    .venv/bin/wtmo check dags/etl/glam.py      # tell about one file; all are looked at, since edges need both ends
    .venv/bin/wtmo check --alerts              # who hears of a failure of each DAG
    .venv/bin/wtmo check --json                # or --github, --junit

It ends with 0 (no error), 1 (errors) or 2 (it could not check: no DAG, a rule that failed). A DAG that breaks a rule marked *at load* is
also refused by Airflow when it reads the file, with the same words.

A finding that has to stay for a while gets an entry in `config/silences.toml`, with a reason and a last day at most {longest} days ahead:

    [[silence]]
    code = "SEN001"
    dag = "some_dag"
    task = "wait_for_*"     # a glob; left out: any task, and the DAG itself
    reason = "why it stays"
    until = 2027-03-31
    needs = "bigquery-etl"  # the bundle without which it can't be found; left out: the hand-written DAGs

{count} rules:

"""


def page() -> str:
    """The page."""
    every = rules()
    order = list(FAMILIES)
    ordered = sorted(every.values(), key=lambda rule: (order.index(family(rule.code)), rule.code))
    parts = [_HEAD.format(longest=LONGEST.days, count=len(ordered))]
    parts += ["| code | | why |\n|---|---|---|\n"]
    parts += [f"| [{rule.code}](#{rule.code.lower()}) | {_kind(rule)} | {rule.reason} |\n" for rule in ordered]
    for letters, of_family in groupby(ordered, key=lambda rule: family(rule.code)):
        parts.append(f"\n## {FAMILIES[letters]}\n")
        parts += [_block(rule) for rule in of_family]
    return "".join(parts)


def write(path: Path = PAGE) -> tuple[Path, bool]:
    """Write the page. Returns its path, and whether it was another one before."""
    text = page()
    changed = not path.exists() or path.read_text() != text
    if changed:
        path.write_text(text)
    return path, changed


def family(code: str) -> str:
    """The letters of a code."""
    return code.rstrip("0123456789")


def _kind(rule: Rule) -> str:
    return f"{rule.severity.value}, at load" if rule.at_load else rule.severity.value


def _block(rule: Rule) -> str:
    told = rule.page.replace("``", "`")
    return f"\n### {rule.code}\n\n{told}\n\n- Why: {rule.reason}\n- What to type: {rule.fix}\n- {_kind(rule).capitalize()}; `{rule.name}`\n"
