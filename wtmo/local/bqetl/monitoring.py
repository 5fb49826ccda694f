"""``script/bqetl monitoring run TABLE``: in production, runs the Bigeye monitors of a table.

There is no Bigeye on the local platform. This stand-in says so, makes sure that the table exists, and succeeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.bqetl.jobs import qualified
from wtmo.local.bqetl.warehouse import QueryError, say

if TYPE_CHECKING:
    import argparse

    from wtmo.local.bqetl.warehouse import Warehouse


def run(options: argparse.Namespace, warehouse: Warehouse, *, default_project: str) -> int:
    """Say what would have run where; a table that does not exist is an error."""
    project = options.project_id or default_project
    name = qualified(options.table, project, "")
    table = warehouse.table(name, project=project)
    if table is None:
        raise QueryError(f"{name} does not exist, so no monitor can run on it")
    say(
        f"STAND-IN: there is no Bigeye here. The monitors of {name} (warehouse {options.warehouse_id}) were not run; "
        f"the table exists, with {table.num_rows or 0:,} rows."
    )
    return 0
