"""Collects what is known of all DAGs of some folders: each file described in the sandbox, or remembered from before.

A file's entry in the cache goes by its bytes, its bundle and name, the files beside it that no Python is and those that it imports,
the code that it is loaded with and the date: an edit of one DAG file loads one file, of a module in the DAG folder those that import
it, of ``operators/`` or ``utils/`` all. Where a folder lies plays no part.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from utils.bqetl import flags
from utils.bqetl.checkout import CHECKS_FILE, QUERY_FILES, Checkout, statements_marked
from utils.config import ROOT
from utils.errors import WtmoError
from wtmo.cache import Cache, tidy
from wtmo.graph.model import File, Inventory
from wtmo.imports.sandbox import Place, Sandbox
from wtmo.imports.verdicts import fingerprint, no_report
from wtmo.local.generated import default_store
from wtmo.local.state import DEFAULT_STATE, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wtmo.graph.model import Dag, Query, Task
    from wtmo.imports.verdicts import Report

DATE = "2026-06-01"
"""The day for which dates are worked out unless another is asked for: what is seen does not change with the clock."""
OWN, IMPORTED = "telemetry-airflow", "bigquery-etl"
"""Names of the two bundles."""
DEFAULT_CACHE = ROOT / ".local" / "cache" / "inventory"

_OF_TREE = ("operators", "utils", "config", "config/airflow.cfg")
_OF_TOOL = ("wtmo/imports", "wtmo/graph/describe", "wtmo/graph/model.py", "requirements.txt")
_KEPT_CODES = 6
"""Versions of the code whose entries the cache holds."""
_BY_THE_MACHINE = {"late", "memory", "died"}
"""Refusals that can be the machine's fault: tried again next time."""
_SKIPPED = {"__pycache__", ".git"}
# Words of prose and of strings that look like an import do no harm: few of them name a file.
_IMPORT = re.compile(r"\bfrom\s+(?P<of>\.*[\w.]*)\s*import\b|\bimport\s+(?P<names>[^\n;#]+)")
_HIDDEN_IMPORT = re.compile(r"\b(?:importlib|__import__|runpy|pkgutil|__file__)\b|\bsys\.path\b|\bexec\(")


@dataclass(frozen=True)
class Source:
    """A folder of DAG files.

    :param bundle: name of the bundle that serves it.
    :param root: the folder.
    :param code: the tree whose ``operators``, ``utils`` and ``config`` its files get. Default: this one.
    """

    bundle: str
    root: Path
    code: Path = ROOT


def default_sources() -> list[Source]:
    """The hand-written DAGs, and the imported ones where there are some."""
    sources = [Source(OWN, ROOT / "dags")]
    if (tree := default_store(State(DEFAULT_STATE), DEFAULT_STATE / "imports").current) is not None:
        sources.append(Source(IMPORTED, tree.dags))
    return sources


def inventory(
    sources: Sequence[Source],
    *,
    date: str = DATE,
    cache: Path | None = DEFAULT_CACHE,
    checkout: Path | None = None,
    only: Callable[[str, Path], bool] | None = None,
    report: Report = no_report,
) -> Inventory:
    """All that is known of the DAGs of some folders.

    :param date: ``YYYY-MM-DD``: runs, dates and templates are those of it.
    :param cache: folder where what was found out is kept. None: nowhere.
    :param checkout: folder of a bigquery-etl checkout, which holds ``sql/``: then query tasks have their SQL. Default: none.
    :param only: which files to look at, by bundle and path below its root. Default: all.
    :param report: told what goes on.
    :raises WtmoError: a folder is missing, there is no DAG file at all, or the sandbox does not work.
    """
    known = _Known(cache, date)
    wanted = [found for source in sources for found in _files(source, only)]
    if not wanted:
        raise WtmoError(
            f"there is no DAG file in {', '.join(str(source.root) for source in sources) or 'no folder at all'}",
            fix="name a folder of DAGs",
        )
    files: dict[Place, File] = {}
    unknown: dict[Path, list[_Wanted]] = {}
    for each in wanted:
        if kept := known.get(each):
            files[each.place] = kept
        else:
            unknown.setdefault(each.source.code.resolve(), []).append(each)
    done, total = 0, sum(map(len, unknown.values()))
    for code, of_code in unknown.items():
        by_place = {each.place: each for each in of_code}
        with Sandbox(roots=list(dict.fromkeys(each.source.root for each in of_code)), code=code) as sandbox:
            for described in sandbox.describe(list(by_place), date):
                done += 1
                report("DAG files loaded", done, total)
                files[described.place] = described.file
                known.put(by_place[described.place], described.file)
    known.tidy()
    ordered = sorted(files.values(), key=lambda file: (file.bundle, file.name))
    if checkout is not None:
        ordered = _with_sql(ordered, Checkout(checkout))
    return Inventory(date, tuple(ordered))


@dataclass(frozen=True)
class _Wanted:
    """A file to look at.

    :param content: digest of its bytes, of what it imports from its folder and of what lies there that no Python is.
    """

    source: Source
    place: Place
    content: str


def _files(source: Source, only: Callable[[str, Path], bool] | None) -> Iterable[_Wanted]:
    if not source.root.is_dir():
        raise WtmoError(f"there is no folder {source.root}", fix="name a folder of DAGs")
    everything = [
        path for path in sorted(source.root.rglob("*")) if path.is_file() and not _is_skipped(path, source.root)
    ]
    beside = hashlib.sha256()
    modules: dict[str, bytes] = {}
    for path in everything:
        name = path.relative_to(source.root).as_posix()
        if path.suffix == ".py":
            modules[name] = path.read_bytes()
        else:
            beside.update(f"{name}\0".encode())
            beside.update(hashlib.sha256(path.read_bytes()).digest())
    used = _imported(modules)
    digests = {name: hashlib.sha256(text).digest() for name, text in modules.items()}
    for name in modules:
        if only is None or only(source.bundle, Path(name)):
            content = beside.copy()
            content.update(digests[name])
            for other in sorted(used[name]):
                content.update(f"{other}\0".encode() + digests[other])
            yield _Wanted(source, Place(source.bundle, source.root, name), content.hexdigest())


def _imported(modules: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Of each file the others of its folder that loading it can run, by their paths: those that it imports, and what they import.

    Airflow puts the folder on ``sys.path``. What an import can't be told from, such as ``importlib``, counts as one of all.
    """
    folders: dict[str, set[str]] = {}
    for name in modules:
        for folder in Path(name).parents:
            folders.setdefault("/".join(folder.parts), set()).add(name)
    direct = {
        name: _imports(name, text.decode(errors="replace"), folders) & set(modules) for name, text in modules.items()
    }
    found = {}
    for name in modules:
        seen, queue = {name}, [name]
        while queue:
            new = direct[queue.pop()] - seen
            seen |= new
            queue += new
        found[name] = seen - {name}
    return found


def _imports(name: str, text: str, folders: Mapping[str, set[str]]) -> set[str]:
    """Paths that the import statements of a file can mean; there need not be such files."""
    if _HIDDEN_IMPORT.search(text):
        return set(folders[""])
    wanted: list[tuple[str, ...]] = []
    for match in _IMPORT.finditer(text.replace("\\\n", " ")):
        if (of := match["of"]) is None:
            wanted += [tuple(each.split()[0].split(".")) for each in match["names"].split(",") if each.strip()]
            continue
        dots = len(of) - len(of.lstrip("."))
        home = Path(name).parts[:-dots] if dots else ()
        wanted.append((*home, *of.strip(".").split(".")) if of.strip(".") else home)
    found: set[str] = set()
    for parts in wanted:
        whole = "/".join(parts)
        found |= {f"{whole}.py", *folders.get(whole, ())} if whole else folders[""]
        found |= {"/".join((*parts[:depth], "__init__.py")) for depth in range(1, len(parts))}
    return found


def _is_skipped(path: Path, root: Path) -> bool:
    return any(part in _SKIPPED or part.startswith(".") for part in path.relative_to(root).parts)


class _Known:
    """What is known of files from before."""

    def __init__(self, root: Path | None, date: str) -> None:
        self._root = root
        self._date = date
        self._caches: dict[Path, str] = {}

    def get(self, wanted: _Wanted) -> File | None:
        """What is known of a file; None: nothing, or what is there can't be read."""
        kept = self._cache(wanted).get(*self._name(wanted)) if self._root else None
        try:
            return File.from_json(kept) if kept else None
        except (TypeError, ValueError):
            return None

    def put(self, wanted: _Wanted, file: File) -> None:
        """Keep what was found out, unless the next time may find out something else."""
        if self._root and file.refused_kind not in _BY_THE_MACHINE:
            self._cache(wanted).put(file.to_json(), *self._name(wanted))

    def tidy(self) -> None:
        """Remove what was found out with code of long ago."""
        if self._root:
            tidy(self._root, set(self._caches.values()), keep=_KEPT_CODES)

    def _cache(self, wanted: _Wanted) -> Cache:
        code = wanted.source.code.resolve()
        if code not in self._caches:
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            whole = f"{python}-{fingerprint(code, _OF_TREE)}-{fingerprint(ROOT, _OF_TOOL)}"
            self._caches[code] = hashlib.sha256(whole.encode()).hexdigest()[:16]
        return Cache((self._root or Path()) / self._caches[code])

    def _name(self, wanted: _Wanted) -> tuple[str, ...]:
        return wanted.place.bundle, wanted.place.name, wanted.content, self._date


# --- the SQL of query tasks


def _with_sql(files: Iterable[File], checkout: Checkout) -> list[File]:
    def of_task(task: Task) -> Task:
        task = replace(task, instances=tuple(of_task(each) for each in task.instances)) if task.instances else task
        if task.query is None or task.query.file is None or task.query.error is not None:
            return task
        return replace(task, query=_query(task.query, [str(word) for word in task.rendered["arguments"]], checkout))

    def of_dag(dag: Dag) -> Dag:
        return replace(dag, tasks=tuple(of_task(task) for task in dag.tasks))

    return [replace(file, dags=tuple(of_dag(dag) for dag in file.dags)) for file in files]


def _query(query: Query, arguments: list[str], checkout: Checkout) -> Query:
    """The query with its SQL as the runner renders it (:mod:`utils.bqetl.plans`), or why there is none."""
    try:
        command = flags.parsed(arguments)
        if command is None:
            return query
        kind, options = command
        if kind == "multipart":
            folder = checkout.folder(checkout.find(options.query_dir, ("part1.sql",)))
            return replace(query, sql=";\n".join(part.read_text() for part in sorted(folder.path.glob("part*.sql"))))
        if kind == "check":
            path = checkout.find(options.path, (CHECKS_FILE,), project=options.project_id)
            return replace(query, sql=";\n".join(_checks(path, options, checkout)))
        path = checkout.find(options.name, QUERY_FILES, project=options.project_id)
        if path.suffix != ".sql":
            return replace(query, error=f"{checkout.shown(path)} is no .sql file")
        return replace(query, sql=checkout.render(path))
    except (WtmoError, OSError, ValueError, jinja2.TemplateError) as error:
        return replace(query, error=error.what if isinstance(error, WtmoError) else str(error))


def _checks(path: Path, options: object, checkout: Checkout) -> list[str]:
    folder = checkout.folder(path)
    variables = {
        "project_id": getattr(options, "project_id", None) or folder.project,
        "dataset_id": folder.dataset,
        "table_name": folder.table,
    }
    for parameter in getattr(options, "parameter", []):
        name, _, value = parameter.partition(":")
        variables[name] = value.partition(":")[2]
    return statements_marked(checkout.render(path, variables), getattr(options, "marker", "fail"))
