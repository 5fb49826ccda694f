"""``script/bqetl check run --marker fail|warn PATH``: the data checks of a table.

``checks.sql`` holds statements, each under a comment ``#fail`` or ``#warn``; a statement fails by calling ``ERROR()``,
as the macros of ``utils/bqetl/checks/`` do. One that fails does not stop the others. Which marker it is makes no
difference here: a failing check exits 1, and the DAG decides what depends on the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.bqetl.jobs import check_message
from utils.bqetl.plans import plan_checks
from wtmo.local.bqetl.warehouse import QueryError, refuse_legacy_sql, say

if TYPE_CHECKING:
    import argparse

    from utils.bqetl.checkout import Checkout
    from wtmo.local.bqetl.warehouse import Warehouse


def run(options: argparse.Namespace, checkout: Checkout, warehouse: Warehouse) -> int:
    """Run the statements of ``checks.sql`` that carry the marker; 1 when one fails."""
    refuse_legacy_sql(options)
    plan = plan_checks(options, checkout)
    (checks,) = plan.stages
    say(f"Running {plan.checks} in {checks[0].project}")
    failed = 0
    for check in checks:
        try:
            warehouse.run(check.sql, what=check.title, project=check.project, config=check.config)
        except QueryError as error:
            failed += 1
            say(f"FAILED {shown(str(error), check.title)}")
        else:
            say(f"passed {check.title}")
    table = f"{options.project_id or plan.folder.project}.{plan.folder.dataset}.{plan.folder.table}"
    say(f"{failed} of {len(checks)} checks marked #{options.marker} failed for {table}")
    return 1 if failed else 0


def shown(error: str, title: str) -> str:
    """What a failed check says, after its title. An error that isn't of ERROR() begins with it."""
    message = check_message(error)
    return message if message == error else f"{title}: {message}"
