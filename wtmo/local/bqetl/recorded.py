"""Programs of the bigquery-etl image that reach beyond a query: they are recorded, as other images are, and succeed.

=============================================  ===========================================================================
``script/shredder_delete ...``                 deletes by client; there is nothing of that kind here
``python sql/.../query.py ...``                imports from other systems
``sh -c``, ``bash -c`` with a line of shell    that names a program of ``script/``: GLAM, deployments, backfills; it is not run
``script/bqetl backfill scheduled`` in a line  also leaves :data:`ENTRIES` for XCom: one backfill is scheduled
=============================================  ===========================================================================
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import environment
from wtmo.local.pods import recorder, xcom

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGE = "bigquery-etl"
_SHELL = re.compile(r"(/bin/)?(ba)?sh")
_LISTS_ENTRIES = "script/bqetl backfill scheduled"
_DATASETS = "moz-fx-data-shared-prod.backfills_staging_derived"

ENTRIES = [
    {
        "qualified_table_name": "moz-fx-data-shared-prod.telemetry_derived.clients_daily_v6",
        "staging_table": f"{_DATASETS}.telemetry_derived__clients_daily_v6_2026_06_01",
        "backup_table": f"{_DATASETS}.telemetry_derived__clients_daily_v6_backup_2026_06_01",
        "watchers": ["nobody@example.com"],
    }
]


def is_recorded(argv: Sequence[str]) -> bool:
    """Whether a command is one of those above.

    >>> is_recorded(["sh", "-c", "script/glam/generate_glean_sql"]), is_recorded(["script/bqetl", "query", "run"])
    (True, False)
    """
    match list(argv):
        case ["script/shredder_delete", *_]:
            return True
        case ["python" | "python3", program, *_]:
            return re.fullmatch(r"sql/[\w./-]+/query\.py", program) is not None
        case [shell, option, line, *_] if _SHELL.fullmatch(shell) and re.fullmatch(r"-[a-z]*c", option):
            return re.search(r"\bscript/\w", line) is not None
    return False


def run(argv: Sequence[str]) -> int:
    """Record the command; the exit status."""
    status = recorder.main([IMAGE, *argv])
    folder = Path(environment().get(xcom.FOLDER_VARIABLE, xcom.FOLDER))
    if any(_LISTS_ENTRIES in word for word in argv) and folder.is_dir():
        (folder / xcom.FILE_NAME).write_text(json.dumps(ENTRIES))
    return status
