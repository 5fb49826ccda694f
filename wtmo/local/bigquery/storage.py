"""What the server keeps: datasets, tables with their rows, functions and jobs, in one SQLite file.

Rows lie in *parts*: serialized ``TableData`` messages, each of one table and one partition. Messages can be joined by
joining their bytes, so a query gets a table as the parts one after another, and an append adds a part. Everything that
belongs together is written in one transaction (:meth:`Storage.transaction`); after ``kill -9`` SQLite's write-ahead log
holds exactly the finished ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import BigQueryError, already_exists, not_found

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from .definitions import Definitions

Resource = dict[str, Any]
"""A resource of the REST API, as JSON."""

WHOLE = ""
"""The partition of a table that has none."""

ANONYMOUS_DATASET = "_anonymous"
"""Holds the results of queries without a destination; hidden, as in BigQuery, since its name starts with an
underscore.
"""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS datasets (
    project TEXT, dataset TEXT, resource TEXT NOT NULL,
    PRIMARY KEY (project, dataset)
);
CREATE TABLE IF NOT EXISTS tables (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT, dataset TEXT, name TEXT, expires INTEGER, resource TEXT NOT NULL,
    UNIQUE (project, dataset, name)
);
CREATE TABLE IF NOT EXISTS parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables ON DELETE CASCADE,
    partition TEXT NOT NULL, rows INTEGER NOT NULL, modified INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS parts_of_table ON parts (table_id, partition);
CREATE TABLE IF NOT EXISTS routines (
    project TEXT, dataset TEXT, name TEXT, resource TEXT NOT NULL,
    PRIMARY KEY (project, dataset, name)
);
CREATE TABLE IF NOT EXISTS jobs (
    project TEXT, job TEXT, created INTEGER NOT NULL, state TEXT NOT NULL, resource TEXT NOT NULL,
    PRIMARY KEY (project, job)
);
CREATE INDEX IF NOT EXISTS jobs_by_age ON jobs (project, created);
CREATE TABLE IF NOT EXISTS uploads (
    project TEXT, job TEXT, data BLOB NOT NULL,
    PRIMARY KEY (project, job)
);
"""


class TableRef(NamedTuple):
    """A table's full name; ``str()`` gives BigQuery's ``project:dataset.table``."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"

    def to_json(self) -> dict[str, str]:
        """A ``TableReference``."""
        return {"projectId": self.project, "datasetId": self.dataset, "tableId": self.table}


@dataclass(frozen=True)
class Table:
    """A table or view. ``resource`` is what the REST API gives, without what changes with the rows (counts, sizes,
    times).
    """

    id: int
    ref: TableRef
    resource: Resource

    @property
    def fields(self) -> list[dict[str, Any]]:
        """The schema's fields."""
        return list(self.resource.get("schema", {}).get("fields", []))

    @property
    def view_query(self) -> str | None:
        """The SQL of a view; None for a table."""
        view = self.resource.get("view")
        return str(view["query"]) if view else None


@dataclass(frozen=True)
class Part:
    """Some rows of one partition."""

    partition: str
    rows: int
    data: bytes


@dataclass(frozen=True)
class PartitionSummary:
    """What a partition holds; ``modified`` in milliseconds since 1970."""

    partition: str
    rows: int
    size: int
    modified: int


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def etag(resource: Resource) -> str:
    """A tag that changes with the resource."""
    return hashlib.sha256(json.dumps(resource, sort_keys=True).encode()).hexdigest()[:22]


class Storage:
    """The database. Every method may be called from any thread.

    One thread at a time writes; the others read what was last committed meanwhile, through a connection of their own.
    """

    def __init__(self, file: Path, definitions: Definitions | None = None) -> None:
        """Open or make the database.

        :param definitions: what queries find that is not stored. Default: nothing.
        :raises sqlite3.Error: the file is no database or can't be written.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        self.definitions = definitions
        self._lock = threading.RLock()
        self._depth = 0
        self._writing_thread: int | None = None
        self._read_lock = threading.RLock()
        self._read_depth = 0
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=5000;"
        )
        self._db.executescript(_SCHEMA)
        self._reader = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._reader.execute("PRAGMA query_only=ON")

    def close(self) -> None:
        """Close the database."""
        with self._lock, self._read_lock:
            self._reader.close()
            self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """All that is written inside is kept together or, after an exception, not at all. May be nested."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
                self._writing_thread = threading.get_ident()
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._db.execute("COMMIT")
            except BaseException:
                if self._depth == 1:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._writing_thread = None

    @contextlib.contextmanager
    def snapshot(self) -> Generator[None]:
        """All that is read inside is of one moment. Inside a transaction it is that of the transaction."""
        if self._writing_thread == threading.get_ident():
            yield
            return
        with self._read_lock:
            if self._read_depth == 0:
                self._reader.execute("BEGIN")
            self._read_depth += 1
            try:
                yield
            finally:
                self._read_depth -= 1
                if self._read_depth == 0:
                    self._reader.execute("COMMIT")

    def _rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._writing_thread == threading.get_ident():
            return self._db.execute(sql, arguments).fetchall()
        with self._read_lock:
            return self._reader.execute(sql, arguments).fetchall()

    def _change(self, sql: str, arguments: Sequence[Any] = ()) -> int:
        with self.transaction():
            return self._db.execute(sql, arguments).rowcount

    # -- datasets

    def projects(self) -> list[str]:
        """Every project that has a dataset."""
        return [row[0] for row in self._rows("SELECT DISTINCT project FROM datasets ORDER BY project")]

    def dataset(self, project: str, dataset: str) -> Resource:
        """:raises BigQueryError: 404."""
        rows = self._rows("SELECT resource FROM datasets WHERE project=? AND dataset=?", (project, dataset))
        if not rows:
            raise not_found("Dataset", f"{project}:{dataset}")
        return dict(json.loads(rows[0][0]))

    def datasets(self, project: str) -> list[Resource]:
        """All datasets of a project by name, hidden ones too."""
        rows = self._rows("SELECT resource FROM datasets WHERE project=? ORDER BY dataset", (project,))
        return [json.loads(row[0]) for row in rows]

    def create_dataset(self, project: str, dataset: str, resource: Resource) -> None:
        """:raises BigQueryError: 409."""
        try:
            self._change("INSERT INTO datasets VALUES (?,?,?)", (project, dataset, json.dumps(resource)))
        except sqlite3.IntegrityError:
            raise already_exists("Dataset", f"{project}:{dataset}") from None

    def update_dataset(self, project: str, dataset: str, resource: Resource) -> None:
        """Put another resource in place of a dataset's."""
        self._change(
            "UPDATE datasets SET resource=? WHERE project=? AND dataset=?", (json.dumps(resource), project, dataset)
        )

    def delete_dataset(self, project: str, dataset: str, *, contents: bool) -> None:
        """Delete a dataset.

        :param contents: also with tables and functions in it.
        :raises BigQueryError: 404, or 400 ``resourceInUse`` where it is not empty.
        """
        with self.transaction():
            self.dataset(project, dataset)
            if not contents and (self.tables(project, dataset) or self.routines(project, dataset)):
                raise BigQueryError("resourceInUse", f"Dataset {project}:{dataset} is still in use")
            self._change("DELETE FROM tables WHERE project=? AND dataset=?", (project, dataset))
            self._change("DELETE FROM routines WHERE project=? AND dataset=?", (project, dataset))
            self._change("DELETE FROM datasets WHERE project=? AND dataset=?", (project, dataset))

    # -- tables

    def find_table(self, ref: TableRef) -> Table | None:
        """A table or view, or None."""
        sql = "SELECT id, resource FROM tables WHERE project=? AND dataset=? AND name=? AND coalesce(expires > ?, 1)"
        rows = self._rows(sql, (*ref, now_ms()))
        return Table(rows[0][0], ref, json.loads(rows[0][1])) if rows else None

    def table(self, ref: TableRef) -> Table:
        """:raises BigQueryError: 404 for the table or, where that is missing, for the dataset."""
        table = self.find_table(ref)
        if table is None:
            self.dataset(ref.project, ref.dataset)
            raise not_found("Table", ref)
        return table

    def tables(self, project: str, dataset: str) -> list[Table]:
        """All tables and views of a dataset by name."""
        sql = "SELECT id, name, resource FROM tables WHERE project=? AND dataset=? ORDER BY name"
        rows = self._rows(sql, (project, dataset))
        return [Table(row[0], TableRef(project, dataset, row[1]), json.loads(row[2])) for row in rows]

    def create_table(self, ref: TableRef, resource: Resource, expires: int | None = None) -> Table:
        """Make a table or view.

        :param expires: milliseconds since 1970 after which it is gone.
        :raises BigQueryError: 404 for the dataset, 409.
        """
        with self.transaction():
            self.dataset(ref.project, ref.dataset)
            sql = "INSERT INTO tables (project, dataset, name, expires, resource) VALUES (?,?,?,?,?)"
            try:
                self._change(sql, (*ref, expires, json.dumps(resource)))
            except sqlite3.IntegrityError:
                raise already_exists("Table", ref) from None
            return self.table(ref)

    def update_table(self, table: Table, resource: Resource) -> Table:
        """Put another resource in place of a table's. Its rows stay as they are."""
        self._change("UPDATE tables SET resource=? WHERE id=?", (json.dumps(resource), table.id))
        return Table(table.id, table.ref, resource)

    def delete_table(self, ref: TableRef) -> None:
        """:raises BigQueryError: 404."""
        with self.transaction():
            self._change("DELETE FROM tables WHERE id=?", (self.table(ref).id,))

    def delete_expired(self) -> None:
        """Remove the anonymous results that have passed their day."""
        self._change("DELETE FROM tables WHERE expires <= ?", (now_ms(),))

    # -- rows

    def parts(self, table_id: int, partition: str | None = None) -> list[Part]:
        """The rows of a table, or of one partition, in the order they were written."""
        sql = "SELECT partition, rows, data FROM parts WHERE table_id=? AND (? IS NULL OR partition=?) ORDER BY id"
        return [Part(*row) for row in self._rows(sql, (table_id, partition, partition))]

    def parts_without(self, table_id: int, partitions: Iterable[str]) -> list[Part]:
        """The rows of a table but for those of some partitions, in the order they were written."""
        sql = """SELECT partition, rows, data FROM parts WHERE table_id=?
            AND partition NOT IN (SELECT value FROM json_each(?)) ORDER BY id"""
        return [Part(*row) for row in self._rows(sql, (table_id, json.dumps(list(partitions))))]

    def add_parts(self, table_id: int, parts: Iterable[Part]) -> None:
        """Add rows."""
        with self.transaction():
            for part in parts:
                sql = "INSERT INTO parts (table_id, partition, rows, modified, size, data) VALUES (?,?,?,?,?,?)"
                self._change(sql, (table_id, part.partition, part.rows, now_ms(), len(part.data), part.data))

    def clear(self, table_id: int, partition: str | None = None) -> None:
        """Remove all rows, or those of one partition."""
        self._change(
            "DELETE FROM parts WHERE table_id=? AND (? IS NULL OR partition=?)", (table_id, partition, partition)
        )

    def partitions(self, table_id: int) -> list[PartitionSummary]:
        """What each partition holds, by partition."""
        sql = """SELECT partition, sum(rows), sum(size), max(modified) FROM parts WHERE table_id=?
            GROUP BY partition ORDER BY partition"""
        return [PartitionSummary(*row) for row in self._rows(sql, (table_id,))]

    # -- routines

    def find_routine(self, ref: TableRef) -> Resource | None:
        """A persistent function (``ref.table`` is its name), or None."""
        rows = self._rows("SELECT resource FROM routines WHERE project=? AND dataset=? AND name=?", ref)
        return dict(json.loads(rows[0][0])) if rows else None

    def routine(self, ref: TableRef) -> Resource:
        """:raises BigQueryError: 404."""
        resource = self.find_routine(ref)
        if resource is None:
            self.dataset(ref.project, ref.dataset)
            raise not_found("Routine", ref)
        return resource

    def routines(self, project: str, dataset: str) -> list[Resource]:
        """All functions of a dataset by name."""
        rows = self._rows(
            "SELECT resource FROM routines WHERE project=? AND dataset=? ORDER BY name", (project, dataset)
        )
        return [json.loads(row[0]) for row in rows]

    def put_routine(self, ref: TableRef, resource: Resource, *, replace: bool) -> None:
        """:raises BigQueryError: 404 for the dataset; 409 unless ``replace``."""
        with self.transaction():
            self.dataset(ref.project, ref.dataset)
            if not replace and self.find_routine(ref):
                raise already_exists("Routine", ref)
            self._change("INSERT OR REPLACE INTO routines VALUES (?,?,?,?)", (*ref, json.dumps(resource)))

    def delete_routine(self, ref: TableRef) -> None:
        """:raises BigQueryError: 404."""
        with self.transaction():
            self.routine(ref)
            self._change("DELETE FROM routines WHERE project=? AND dataset=? AND name=?", ref)

    # -- jobs

    def create_job(self, project: str, job: str, resource: Resource, created: int, upload: bytes | None) -> None:
        """Keep a new job with the data that came with it.

        :raises BigQueryError: 409, the id is taken.
        """
        with self.transaction():
            try:
                sql = "INSERT INTO jobs VALUES (?,?,?,?,?)"
                self._change(sql, (project, job, created, resource["status"]["state"], json.dumps(resource)))
            except sqlite3.IntegrityError:
                raise already_exists("Job", f"{project}:{resource['jobReference']['location']}.{job}") from None
            if upload is not None:
                self._change("INSERT INTO uploads VALUES (?,?,?)", (project, job, upload))

    def save_job(self, project: str, job: str, resource: Resource) -> None:
        """Keep what became of a job; the data that came with it goes when it is done."""
        with self.transaction():
            state = resource["status"]["state"]
            sql = "UPDATE jobs SET state=?, resource=? WHERE project=? AND job=?"
            self._change(sql, (state, json.dumps(resource), project, job))
            if state == "DONE":
                self._change("DELETE FROM uploads WHERE project=? AND job=?", (project, job))

    def find_job(self, project: str, job: str) -> Resource | None:
        """A job, or None."""
        rows = self._rows("SELECT resource FROM jobs WHERE project=? AND job=?", (project, job))
        return dict(json.loads(rows[0][0])) if rows else None

    def delete_job(self, project: str, job: str) -> None:
        """Forget a job."""
        self._change("DELETE FROM jobs WHERE project=? AND job=?", (project, job))

    def upload(self, project: str, job: str) -> bytes | None:
        """The data that came with a job that is not done."""
        rows = self._rows("SELECT data FROM uploads WHERE project=? AND job=?", (project, job))
        return bytes(rows[0][0]) if rows else None

    def jobs(
        self, project: str, *, states: Sequence[str], oldest: int, newest: int, offset: int, limit: int
    ) -> list[Resource]:
        """Jobs of a project, newest first.

        :param states: those wanted; empty: all. :param oldest, newest: creation time in milliseconds, both inclusive.
        """
        sql = """SELECT resource FROM jobs WHERE project=? AND created BETWEEN ? AND ?
            AND (? = 0 OR state IN (SELECT value FROM json_each(?))) ORDER BY created DESC, job LIMIT ? OFFSET ?"""
        arguments = (project, oldest, newest, len(states), json.dumps(list(states)), limit, offset)
        return [json.loads(row[0]) for row in self._rows(sql, arguments)]

    def unfinished_jobs(self) -> list[Resource]:
        """Jobs that were accepted and not done, of all projects, oldest first."""
        return [
            json.loads(row[0]) for row in self._rows("SELECT resource FROM jobs WHERE state <> 'DONE' ORDER BY created")
        ]

    def prune_jobs(self, *, keep: int, oldest: int) -> None:
        """Forget done jobs created before ``oldest`` (milliseconds), and those beyond the newest ``keep``."""
        sql = """DELETE FROM jobs WHERE state = 'DONE' AND (created < ? OR rowid NOT IN
            (SELECT rowid FROM jobs ORDER BY created DESC LIMIT ?))"""
        self._change(sql, (oldest, keep))
