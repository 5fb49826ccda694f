"""Inventories made by hand."""

from __future__ import annotations

from typing import Any

from wtmo.checks.rule import OWN
from wtmo.graph.model import Dag, File, Inventory, Task

ALERTS = "telemetry-alerts@mozilla.com"
PAGE = """Do it.

## Where the data comes from and goes

Nowhere.

## When it fails

Clear it.

## How to re-run it

Clear it.
"""


def task(task_id: str = "t", *, kind: str = "BashOperator", **attributes: Any) -> Task:
    given = {"owner": "ads", "email": [ALERTS], "email_on_failure": True, "email_on_retry": True} | attributes
    return Task(task_id, kind, classes=(f"made.{kind}", "made.BaseOperator"), line=9, attributes=given)


def dag(dag_id: str = "d", *tasks: Task, bundle: str = OWN, **differing: Any) -> Dag:
    given = {
        "file": f"etl/{dag_id}.py",
        "line": 7,
        "tags": ("impact/tier_2",),
        "attributes": {"doc_md": PAGE},
    } | differing
    return Dag(dag_id, bundle, tasks=tasks or (task(),), **given)


def inventory(*dags: Dag, refused: tuple[File, ...] = ()) -> Inventory:
    files = [File(each.bundle, each.file, dags=(each,)) for each in dags]
    return Inventory("2026-06-01", (*files, *refused))
