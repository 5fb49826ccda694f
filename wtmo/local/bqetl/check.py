"""``script/bqetl check run --marker fail|warn PATH``: the data checks of a table.

``checks.sql`` holds statements, each under a comment ``#fail`` or ``#warn``; a statement fails by calling ``ERROR()``,
as the macros of ``checks/macros.jinja`` do. One that fails does not stop the others. Which marker it is makes no
difference here: a failing check exits 1, and the DAG decides what depends on the task.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wtmo.errors import WtmoError
from wtmo.local.bqetl.checkout import CHECKS_FILE, statements_marked
from wtmo.local.bqetl.query import job_config
from wtmo.local.bqetl.warehouse import QueryError, say

if TYPE_CHECKING:
    import argparse

    from wtmo.local.bqetl.checkout import Checkout
    from wtmo.local.bqetl.warehouse import Warehouse

CHECK_FAILED = "ETL Data Check Failed: "


def run(options: argparse.Namespace, checkout: Checkout, warehouse: Warehouse) -> int:
    """Run the statements of ``checks.sql`` that carry the marker; 1 when one fails.

    A table without ``checks.sql``, or without a statement of that marker, is an error here, unlike in bigquery-etl,
    which says so and succeeds: a check that checks nothing must not be green.
    """
    path = checkout.find(options.path, (CHECKS_FILE,), project=options.project_id)
    folder = checkout.folder(path)
    project = options.project_id or folder.project
    what = checkout.shown(path)
    variables = {"project_id": project, "dataset_id": folder.dataset, "table_name": folder.table}
    for parameter in options.parameter:
        name, _, value = parameter.partition(":")
        variables[name] = value.partition(":")[2]
    checks = statements_marked(checkout.render(path, variables), options.marker)
    if not checks:
        raise WtmoError(
            f"{what} has no statement marked #{options.marker}",
            fix=f"Write the comment #{options.marker} above a check, or remove the task.",
        )

    say(f"Running {len(checks)} checks marked #{options.marker} of {what} in {options.billing_project or project}")
    failed = 0
    for number, check in enumerate(checks, start=1):
        config = job_config(options, default_dataset=f"{project}.{folder.dataset}", destination=None)
        title = f"{what} #{options.marker} {number} of {len(checks)}"
        try:
            warehouse.run(check, what=title, project=options.billing_project or project, config=config)
        except QueryError as error:
            failed += 1
            say(f"FAILED {check_message(str(error), title)}")
        else:
            say(f"passed {title}")
    say(
        f"{failed} of {len(checks)} checks marked #{options.marker} failed for {project}.{folder.dataset}.{folder.table}"
    )
    return 1 if failed else 0


def check_message(error: str, title: str) -> str:
    """What a failed check says: the text given to ERROR(), or all of BigQuery's message when the SQL itself is wrong."""
    found = re.search(rf"{re.escape(CHECK_FAILED)}.*?(?=; error in |\n|$)", error)
    return f"{title}: {found[0].removeprefix(CHECK_FAILED)}" if found else error
