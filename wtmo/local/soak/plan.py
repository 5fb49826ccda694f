"""What is to be run: made from the seed alone, written down for the DAG, and judged by afterwards."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from utils.config import WAREHOUSE_PROJECT

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["pod", "query", "pod-query", "sync", "sensor"]
Outcome = Literal["success", "failed", "skipped"]
Act = Literal["", "mark-failed", "clear"]

DAG_ID = "soak"
DATASET = "soak_derived"
DATE = "2026-06-01"
RETRIES = 5
SKIP_EXIT_CODE = 99

_SHARES: dict[Kind, float] = {"pod": 0.5, "query": 0.2, "pod-query": 0.1, "sync": 0.12, "sensor": 0.08}
_ACTED = 0.08
_FAILING = 0.2


@dataclass(frozen=True)
class Work:
    """One task.

    :param outcome: of its program: what the task must come to if nobody marks it.
    :param exit_code: of a pod's program.
    :param seconds: how long its program takes.
    :param act: what a person does to it as soon as it runs or waits. Default: nothing.
    :param connector: of a sync or a sensor: the Fivetran connector as JSON, by :mod:`wtmo.local.services.connectors`.
    :param watches: of a sensor: the task whose connector's next success it waits for.
    """

    task_id: str
    kind: Kind
    deferrable: bool
    outcome: Outcome
    seconds: int
    exit_code: int = 0
    xcom: bool = False
    act: Act = ""
    connector: dict[str, Any] | None = None
    watches: str | None = None


@dataclass(frozen=True)
class Plan:
    """All of it.

    :param started: ISO 8601: sensors wait for a sync that ended later.
    """

    seed: int
    started: str
    work: tuple[Work, ...]

    @classmethod
    def make(cls, seed: int, tasks: int, started: str) -> Self:
        """The plan of a seed."""
        draw = random.Random(f"soak:{seed}")
        shares = _SHARES.items()
        kinds = draw.choices([kind for kind, _ in shares], [share for _, share in shares], k=tasks)
        work = [_work(draw, kind, f"{kind}-{number:03}") for number, kind in enumerate(kinds, 1) if kind != "sensor"]
        steady = [each for each in work if each.kind == "sync" and each.outcome == "success" and not each.act]
        steady = [each for each in steady if each.connector and "failure" not in each.connector["outcome"]]
        for number, kind in enumerate(kinds, 1):
            if kind != "sensor":
                continue
            if not steady:
                work.append(_work(draw, "pod", f"pod-{number:03}"))
                continue
            watched = draw.choice(steady)
            name, deferrable = f"{kind}-{number:03}", draw.random() < 0.5
            work.append(Work(name, "sensor", deferrable, "success", watched.seconds, watches=watched.task_id))
        return cls(seed, started, tuple(work))

    def write(self, path: Path) -> None:
        """For :meth:`read` in another process."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What :meth:`write` wrote."""
        raw = json.loads(path.read_text())
        return cls(raw["seed"], raw["started"], tuple(Work(**each) for each in raw["work"]))


def connector_id(task_id: str) -> str:
    """The connector of a sync."""
    return task_id.replace("-", "_")


def table(task_id: str) -> str:
    """The table that a query writes."""
    return f"{task_id.replace('-', '_')}_v1"


def write_files(plan: Plan, checkout: Path, connectors: Path) -> None:
    """The query files and the connectors of a plan, where the stand-ins look for them."""
    connectors.mkdir(parents=True)
    for work in plan.work:
        if work.connector is not None:
            (connectors / f"{connector_id(work.task_id)}.json").write_text(json.dumps(work.connector))
        if work.kind in {"query", "pod-query"}:
            folder = checkout / "sql" / WAREHOUSE_PROJECT / DATASET / table(work.task_id)
            folder.mkdir(parents=True)
            value = "1" if work.outcome == "success" else "ERROR('as planned')"
            (folder / "query.sql").write_text(f"SELECT @submission_date AS submission_date, {value} AS n\n")
            (folder / "metadata.yaml").write_text(
                "friendly_name: Soak\nbigquery:\n  time_partitioning:\n    type: day\n    field: submission_date\n"
            )
            (folder / "schema.yaml").write_text(
                "fields:\n- {name: submission_date, type: DATE}\n- {name: n, type: INTEGER}\n"
            )


def _work(draw: random.Random, kind: Kind, task_id: str) -> Work:
    fails = draw.random() < _FAILING
    act: Act = draw.choice(("mark-failed", "clear")) if draw.random() < _ACTED else ""
    deferrable = kind == "query" or draw.random() < 0.6
    # What is marked or cleared has to run for long enough to be met.
    seconds = draw.randint(15, 25) if act else draw.randint(1, 8)
    if act == "mark-failed" and kind != "sync":
        # Nothing else would show that it was not ended: it would be done before its time to go (accounts.GRACE) is over.
        seconds += 90
    if kind == "pod":
        code = draw.choice((1, 2, 137, SKIP_EXIT_CODE)) if fails else 0
        outcome: Outcome = "success" if not code else "skipped" if code == SKIP_EXIT_CODE else "failed"
        return Work(task_id, kind, deferrable, outcome, seconds, code, xcom=draw.random() < 0.5, act=act)
    outcome = "failed" if fails else "success"
    if kind == "sync":
        connector = _connector(draw, task_id, seconds, fails=fails)
        return Work(task_id, kind, deferrable, outcome, seconds, act=act, connector=connector)
    return Work(task_id, kind, deferrable, outcome, seconds, act=act)


def _connector(draw: random.Random, task_id: str, seconds: int, *, fails: bool) -> dict[str, Any]:
    good = draw.choice((["success"], ["success"], ["failure", "success"], ["rescheduled", "success"]))
    faults = [
        {"method": "GET", "status": draw.choice((429, 500, 503)), "times": draw.randint(1, 3), "retry_after": 1},
        {"method": "POST", "status": draw.choice((429, 503)), "times": 1, "retry_after": 1},
    ]
    return {
        "service": "google_sheets",
        "schema": connector_id(task_id),
        "sync_seconds": seconds,
        "outcome": ["failure"] if fails else good,
        "reschedule_seconds": 3,
        "faults": faults if draw.random() < 0.5 else [],
    }
