"""SQL: what query tasks send to BigQuery is GoogleSQL, and right for the tables that are known."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from utils.config import ROOT
from wtmo.cache import Cache, tidy
from wtmo.checks.rule import of_task, rule
from wtmo.errors import WtmoError
from wtmo.imports.verdicts import fingerprint, no_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from wtmo.checks.rule import Finding, Look
    from wtmo.graph.model import Query
    from wtmo.imports.verdicts import Report

CACHE = ROOT / ".local" / "cache" / "queries"

_OF_TOOL = ("wtmo/local/bigquery", "wtmo/checks/queries.py", "utils/bqetl", "utils/errors.py", "requirements.txt")
_KEPT_CODES = 6
"""Versions of the code whose answers the cache holds."""
_DESCRIPTIONS = ("view.sql", "materialized_view.sql", "udf.sql", "schema.yaml", "metadata.yaml")
"""The files of a folder that say what a table, view or function is (:mod:`wtmo.local.bigquery.definitions`)."""
_NAME = re.compile(r"[\w-]+")
# What a schema.yaml may take descriptions from: any word in it that names a YAML file.
_INCLUDED = re.compile(rb"[\w./-]+\.ya?ml\b")
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
    ``udf.sql``). A query of a table that is not known is not judged, a script by its syntax alone; nor is what may be right for
    BigQuery: a function that GoogleSQL does not know, or a fault that goes with the order of a table's columns, which ``schema.yaml``
    does not tell. Answers are kept: only what changed is analysed again.
    """
    asked = [(dag, task, task.query) for dag, task in look.tasks() if task.query and task.query.sql]
    if not asked:
        return
    distinct = list(dict.fromkeys(query for _, _, query in asked))
    answers = refusals(distinct, look.checkout, cache=look.cache, report=look.report)
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


def refusals(
    queries: Sequence[Query], checkout: Path | None, *, cache: Path | None = None, report: Report = no_report
) -> dict[Query, str | None]:
    """What GoogleSQL says against each query; None: nothing, or it can't tell.

    :param checkout: of bigquery-etl.
    :param cache: folder where answers are kept. None: nowhere.
    :param report: told what goes on.
    """
    found: dict[Query, str | None] = {}
    jobs: dict[Query, tuple[dict[str, Any], str]] = {}
    known = _Known(cache, checkout)
    for query in queries:
        try:
            found[query] = known.get(query)
        except LookupError:
            try:
                jobs[query] = _configuration(query), query.project or "none"
            except WtmoError as error:
                found[query] = error.what
    if jobs:
        from wtmo.local.bigquery.refusals import Refusals

        unknown = list(jobs)
        with Refusals(checkout) as engines:
            for done, (number, answer) in enumerate(engines.ask(list(jobs.values())), start=1):
                found[unknown[number]] = answer.refused
                if answer.lasting:
                    known.put(unknown[number], answer.refused, answer.names)
                report("queries analysed", done, len(jobs))
    known.tidy()
    return found


class _Known:
    """The answers of before. One holds as long as every description that it depends on is as it was, or still missing."""

    def __init__(self, root: Path | None, checkout: Path | None) -> None:
        self._root = root
        self._checkout = checkout
        self._began = time.time()
        self._digests: dict[str, str | None] = {}
        code = [fingerprint(ROOT, _OF_TOOL), *(version(package) for package in ("zetasql", "wasmtime"))]
        self._code = hashlib.sha256("-".join(code).encode()).hexdigest()[:16]
        self._answers = Cache((root or ROOT) / self._code)

    def get(self, query: Query) -> str | None:
        """What was said of a query.

        :raises LookupError: it is not known.
        """
        kept = self._answers.get(*self._name(query)) if self._root else {}
        if "refused" not in kept or any(self._digest(name) != digest for name, digest in kept["names"].items()):
            raise LookupError
        refused: str | None = kept["refused"]
        return refused

    def put(self, query: Query, refused: str | None, names: Iterable[Sequence[str]]) -> None:
        """Keep an answer.

        :param names: what its analysis looked for in the checkout.
        """
        if self._root:
            digests = {name: self._digest(name) for name in sorted("/".join(parts) for parts in names)}
            if None not in digests.values():
                self._answers.put({"refused": refused, "names": digests}, *self._name(query))

    def tidy(self) -> None:
        """Remove the answers of code of long ago."""
        if self._root:
            tidy(self._root, {self._code}, keep=_KEPT_CODES)

    def _name(self, query: Query) -> tuple[str, ...]:
        return json.dumps(query.parameters), query.project or "", query.dataset or "", query.sql or ""

    def _digest(self, name: str) -> str | None:
        """A digest of what the checkout says of a table, view or function; empty where it says nothing, None where it changes just now."""
        if name not in self._digests:
            self._digests[name] = self._digest_now(name)
        return self._digests[name]

    def _digest_now(self, name: str) -> str | None:
        if self._checkout is None or not all(map(_NAME.fullmatch, name.split("/"))):
            return ""
        read: dict[str, bytes] = {}
        for file in _DESCRIPTIONS:
            self._read(self._checkout, f"sql/{name}/{file}", read)
        folder = self._checkout / "sql" / name
        for path in (*folder.parents[:3], folder, *(self._checkout / file for file in read)):
            with contextlib.suppress(OSError):
                if path.stat().st_ctime > self._began:
                    return None
        contents = json.dumps({file: hashlib.sha256(content).hexdigest() for file, content in sorted(read.items())})
        return hashlib.sha256(contents.encode()).hexdigest()[:16] if read else ""

    def _read(self, checkout: Path, file: str, read: dict[str, bytes]) -> None:
        """Read a file, and those that it may take descriptions from."""
        if file in read:
            return
        with contextlib.suppress(OSError):
            read[file] = (checkout / file).read_bytes()
            if b"!include" in read[file]:
                for included in _INCLUDED.findall(read[file]):
                    self._read(checkout, included.decode(), read)


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
