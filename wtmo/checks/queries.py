"""SQL: what query tasks send to BigQuery is GoogleSQL, and right for the tables that are known."""

from __future__ import annotations

import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtmo.checks.rule import of_task, rule
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding, Look
    from wtmo.graph.model import Query

ENGINES = 2
"""Evaluators at work at once: each takes a core and 30 MB."""

# A function of another repository, or one whose file is not at hand; what BigQuery can and the local one can't.
_NOT_KNOWN = re.compile(r"Function not found: [\w`-]+\.|not supported by the local BigQuery")
# Statements of a checks.sql are joined by semicolons that some of them have already.
_EMPTY = re.compile(r";(?:\s*;)+")


@rule(
    "SQL001",
    "A query that BigQuery refuses fails each day, and what comes after it waits.",
    fix="Mend the query file.",
)
def sound(look: Look) -> Iterator[Finding]:
    """The SQL of query tasks is analysed by GoogleSQL itself, as far as the query file is at hand (``--checkout``) or the task holds the SQL:
    its syntax always, names, types and parameters where the schemas of all its tables are known (``schema.yaml``, ``view.sql``,
    ``udf.sql``). A query of a table that is not known is not judged, a script by its syntax alone.
    """
    asked = [(dag, task, task.query) for dag, task in look.tasks() if task.query and task.query.sql]
    if not asked:
        return
    distinct = tuple(dict.fromkeys(query for _, _, query in asked))
    answers = dict(zip(distinct, analyse(distinct, look.checkout), strict=True))
    for dag, task, query in asked:
        if said := answers[query]:
            where = f" ({query.file})" if query.file else ""
            yield of_task(dag, task, f"its query is refused: {said}{where}")


@rule(
    "SQL002",
    "A task whose query file is gone fails each day.",
    fix="Name a file of the checkout, or remove the task.",
)
def has_file(look: Look) -> Iterator[Finding]:
    """The query file that a task names is in the checkout (``--checkout``), if the checkout has other tables of its dataset."""
    if look.checkout is None:
        return
    for dag, task in look.tasks():
        query = task.query
        if query is None or not query.file or query.sql is not None:
            continue
        folder = look.checkout / query.file
        folder = folder if not folder.suffix else folder.parent
        if not folder.is_dir() and folder.parent.is_dir():
            yield of_task(dag, task, f"runs {query.file}, which does not exist")


@lru_cache(maxsize=4)
def analyse(queries: tuple[Query, ...], checkout: Path | None) -> list[str | None]:
    """What GoogleSQL says against each query; None: nothing, or it can't tell. The same queries are analysed once in a process."""
    from wtmo.local.bigquery.definitions import Definitions
    from wtmo.local.bigquery.googlesql import THREAD_STACK, EvaluatorPool
    from wtmo.local.bigquery.query import TableLocks
    from wtmo.local.bigquery.storage import Storage

    with tempfile.TemporaryDirectory(prefix="wtmo-check-") as folder:
        storage = Storage(Path(folder) / "empty.db", Definitions(checkout) if checkout else None)
        before = threading.stack_size(THREAD_STACK)
        try:
            with ThreadPoolExecutor(ENGINES) as threads:
                return list(threads.map(partial(_problem, storage, EvaluatorPool(ENGINES), TableLocks()), queries))
        finally:
            threading.stack_size(before)
            storage.close()


def _problem(storage: Any, pool: Any, locks: Any, query: Query) -> str | None:
    from wtmo.local.bigquery.errors import BigQueryError
    from wtmo.local.bigquery.query import QueryRun

    try:
        QueryRun(storage, pool, locks, _configuration(query), query.project or "none", dry_run=True).analyze()
    except WtmoError as error:
        return error.what
    except BigQueryError as error:
        if error.reason in {"invalid", "invalidQuery"} and not _NOT_KNOWN.search(error.message):
            return " ".join(error.message.split())
    return None


def _configuration(query: Query) -> dict[str, Any]:
    """``configuration.query`` of the job."""
    from utils.bqetl.jobs import parse_parameter

    parameters = [parse_parameter(each).to_api_repr() for each in query.parameters]
    found: dict[str, Any] = {
        "query": _EMPTY.sub(";", query.sql or ""),
        "useLegacySql": False,
        "queryParameters": parameters,
    }
    project, _, dataset = (query.dataset or "").partition(".")
    return found | ({"defaultDataset": {"projectId": project, "datasetId": dataset}} if dataset else {})
