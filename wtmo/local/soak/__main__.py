"""Runs the soak: ``python -m wtmo.local.soak --help``.

Exit status: 0 all is settled, 1 there are findings or tasks that did not finish, 2 it could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from utils.config import ROOT
from wtmo.errors import WtmoError
from wtmo.local.components import Supplies
from wtmo.local.platform import Launch
from wtmo.local.soak import accounts, dag
from wtmo.local.soak.chaos import Chaos
from wtmo.local.soak.plan import DAG_ID, DATE, Plan, write_files
from wtmo.local.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wtmo.local.soak.accounts import Account
    from wtmo.local.soak.watch import Watch

LOOK_SECONDS = 3
REPORT_SECONDS = 15
_OWN = "wtmo-soak"


def run(
    state: State, *, seed: int, tasks: int, minutes: float, rate: float, mean: float, report: Callable[[str], None]
) -> tuple[Account, Watch]:
    """Run the plan of a seed on a platform of its own and settle the account.

    :param minutes: after which it is ended, whether the tasks are or not.
    :param rate: share of the pods that meet a fault.
    :param mean: seconds between two kills.
    :raises WtmoError: the platform does not start, or its state folder holds something else.
    """
    from wtmo.local.soak.watch import Watch

    _clean(state.root)
    files = state.folder("soak")
    plan = Plan.make(seed, tasks, datetime.now(UTC).isoformat())
    supplies = Supplies(files / "bigquery-etl", files / "fivetran", f"{seed}:{rate}")
    write_files(plan, supplies.checkout, supplies.connectors)
    plan.write(files / "plan.json")
    dags = files / "dags"
    dags.mkdir()
    text = dag.FILE.format(plan=str(files / "plan.json"), checkout=str(supplies.checkout))
    (dags / f"{DAG_ID}.py").write_text(text)
    report(f"seed {seed}: {dict(sorted(Counter(work.kind for work in plan.work).items()))}")
    launch = Launch(state, port=0, dags=dags, supplies=supplies)
    try:
        watch = Watch(plan, state, launch.wait(lambda _: None))
        watch.start(DATE)
        report("the platform is up, the run has begun")
        chaos = Chaos(state, seed, mean)
        end, next_report = time.monotonic() + minutes * 60, 0.0
        while time.monotonic() < end:
            watch.look()
            if watch.finished():
                break
            if (struck := chaos.strike(watch.running())) is not None:
                report(f"killed: {struck}")
            if time.monotonic() > next_report:
                next_report = time.monotonic() + REPORT_SECONDS
                report(watch.progress())
            time.sleep(LOOK_SECONDS)
        report("no more kills; what is active has a minute to end")
        watch.settle(accounts.GRACE + LOOK_SECONDS)
        watch.kills = chaos.done
        return accounts.settle(plan, watch.evidence()), watch
    finally:
        launch.stop()


def _clean(folder: Path) -> None:
    """An empty folder; one that an earlier soak left is removed, no other."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _OWN).exists():
            raise WtmoError(f"{folder} holds something that is not of a soak", fix="name another: --state DIR")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _OWN).touch()


def as_json(account: Account, seed: int, seconds: float, kills: dict[str, int], faults: dict[str, int]) -> str:
    """The account for programs."""
    return json.dumps(
        {"seed": seed, "seconds": round(seconds), "kills": kills, "faults": faults, **asdict(account)}, indent=1
    )


def show(account: Account, seed: int, seconds: float, kills: dict[str, int], faults: dict[str, int]) -> None:
    """The account for people."""
    out = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    states = sorted({state for counts in account.states.values() for state in counts})
    for column in ("tasks", *states):
        table.add_column(column, justify="left" if column == "tasks" else "right")
    for kind, counts in sorted(account.states.items()):
        table.add_row(kind, *(str(counts[state] or "") for state in states))
    out.print(table)

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

    tasks = sum(sum(counts.values()) for counts in account.states.values())
    lines = [
        f"seed {seed}, {seconds:.0f} s: {tasks} tasks in {account.tries} tries made {account.pods} pods, "
        f"{account.jobs} jobs, {account.syncs} syncs",
        f"killed: {listed(kills)}",
        f"faults of pods: {listed(faults)}",
        f"failed by a fault of their last pod, not by their program: {', '.join(account.excused) or 'none'}",
        f"not finished in time: {len(account.unfinished)} tasks",
        *(f"FINDING {finding.task}: {finding.what}" for finding in account.findings),
        f"{len(account.findings)} findings" if account.findings else "Nothing is unaccounted for.",
    ]
    out.print("\n".join(lines), markup=False, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m wtmo.local.soak", description="Tasks under every fault at once.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=45, help="end it after so long (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0.3, help="share of pods with a fault (default: %(default)s)")
    parser.add_argument("--mean", type=float, default=20, help="seconds between two kills (default: %(default)s)")
    parser.add_argument(
        "--state", type=Path, default=ROOT / ".local" / "soak", help="its folder (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the account as JSON")
    options = parser.parse_args(argv)
    begun = time.monotonic()
    # That the api-server is away is no news here.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

    def report(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.write(f"soak {time.monotonic() - begun:5.0f} s: {line}\n")
            sys.stderr.flush()

    try:
        account, watch = run(
            State(options.state.resolve()),
            seed=options.seed,
            tasks=options.tasks,
            minutes=options.minutes,
            rate=options.rate,
            mean=options.mean,
            report=report,
        )
    except WtmoError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    result: tuple[Any, ...] = (account, options.seed, time.monotonic() - begun, watch.kills, watch.faults())
    if options.json:
        sys.stdout.write(as_json(*result) + "\n")
    else:
        show(*result)
    return 0 if account.settled else 1


if __name__ == "__main__":
    sys.exit(main())
