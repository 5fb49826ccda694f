"""What a checkout of bigquery-etl describes and nobody has made here: views, SQL functions, tables without rows.

In production, deployments publish the files of ``sql/<project>/<dataset>/<name>/`` before a query that names them runs. Here a
query finds them by itself, each time as the files are then; what the storage has comes first. Nothing is stored of them, so
the REST API and ``INFORMATION_SCHEMA`` do not list them.

==============================================  =====================================================================
``view.sql``, ``materialized_view.sql``         a view; a materialised one is evaluated like any other
``udf.sql``                                     its CREATE FUNCTION of that name
``schema.yaml``, and ``metadata.yaml``          a table without rows, partitioned as the latter says
==============================================  =====================================================================

A query that writes such a table makes it first, as described, and is stored with it (:func:`wtmo.local.bigquery.writes.as_described`).
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from utils.errors import WtmoError

from . import values
from .errors import BigQueryError, invalid_query
from .storage import Resource, Table, TableRef

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NO_ID = 0
"""The id of a table that is not stored: no rows have it."""

_VIEWS, _FUNCTIONS = ("view.sql", "materialized_view.sql"), ("udf.sql",)
_NAME = re.compile(r"[\w-]+")


class Definition(NamedTuple):
    """A file of SQL and its name in the checkout."""

    file: str
    sql: str


class Definitions:
    """The checkout at ``root``, the folder that holds ``sql/``. Files are read when they are asked for."""

    def __init__(self, root: Path) -> None:
        """Read nothing yet."""
        self._root = root

    def view(self, ref: TableRef) -> Definition | None:
        """The file of a view, or None."""
        return self._read(ref, _VIEWS)

    def function(self, ref: TableRef) -> Definition | None:
        """The file of a function, or None."""
        return self._read(ref, _FUNCTIONS)

    def table(self, ref: TableRef) -> Table | None:
        """A table without rows that has the columns of ``schema.yaml``, or None where there is no such file.

        :raises BigQueryError: the file is wrong.
        """
        folder = self._folder(ref)
        if folder is None or not (folder / "schema.yaml").is_file():
            return None
        changed = tuple(file.stat().st_mtime_ns for file in sorted(folder.glob("*.yaml")))
        try:
            return Table(NO_ID, ref, _resource(folder, changed))
        except (WtmoError, BigQueryError) as error:
            raise invalid_query(f"{folder.relative_to(self._root)}/schema.yaml: {error}") from error

    def has_dataset(self, ref: TableRef) -> bool:
        """Whether the checkout has a folder for the dataset of a table."""
        folder = self._folder(ref)
        return folder is not None and folder.parent.is_dir()

    def layout(self, ref: TableRef) -> Resource:
        """``timePartitioning`` and ``clustering`` that a table's ``metadata.yaml`` asks for; empty where it asks for neither."""
        from utils.bqetl.checkout import TableFolder

        folder = self._folder(ref)
        return _layout(TableFolder(folder).metadata) if folder else {}

    def _folder(self, ref: TableRef) -> Path | None:
        """The folder of a name; None where the name is none that a folder has."""
        return self._root.joinpath("sql", *ref) if all(map(_NAME.fullmatch, ref)) else None

    def _read(self, ref: TableRef, names: tuple[str, ...]) -> Definition | None:
        folder = self._folder(ref)
        file = next((folder / name for name in names if (folder / name).is_file()), None) if folder else None
        return Definition(str(file.relative_to(self._root)), file.read_text(errors="replace")) if file else None


@functools.lru_cache(maxsize=64)
def _resource(folder: Path, changed: tuple[int, ...]) -> Resource:
    """The table that a folder describes; reading a schema of a thousand fields takes most of a second.

    :param changed: when its YAML files were, so that they are read again then.
    """
    from utils.bqetl.checkout import TableFolder

    described = TableFolder(folder)
    metadata = described.metadata
    partitioning = (metadata.get("bigquery") or {}).get("time_partitioning") or {}
    return {
        "schema": {"fields": values.checked_schema(described.schema)},
        "friendlyName": metadata.get("friendly_name"),
        "description": metadata.get("description"),
        "requirePartitionFilter": bool(partitioning.get("require_partition_filter")),
        **_layout(metadata),
    }


def _layout(metadata: Mapping[str, Any]) -> Resource:
    asked = metadata.get("bigquery") or {}
    layout: Resource = {}
    if declared := asked.get("time_partitioning"):
        days = declared.get("expiration_days")
        partitioning = {
            "type": str(declared.get("type") or "day").upper(),
            "field": declared.get("field"),
            "expirationMs": str(int(days * 24 * 60 * 60 * 1000)) if days else None,
        }
        layout["timePartitioning"] = {key: value for key, value in partitioning.items() if value}
    if columns := (asked.get("clustering") or {}).get("fields"):
        layout["clustering"] = {"fields": list(columns)}
    return layout
