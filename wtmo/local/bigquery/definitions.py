"""What a checkout of bigquery-etl describes and nobody has made here: views, SQL functions, tables without rows.

In production, deployments publish the files of ``sql/<project>/<dataset>/<name>/`` before a query that names them runs. Here a
query finds them by itself, each time as the files are then; what the storage has comes first. Nothing is stored of them, so
the REST API and ``INFORMATION_SCHEMA`` do not list them.

==============================================  =====================================================================
``view.sql``, ``materialized_view.sql``         a view; a materialised one is evaluated like any other
``udf.sql``                                     its CREATE FUNCTION of that name
``schema.yaml``, and ``metadata.yaml``          a table without rows, partitioned as the latter says
==============================================  =====================================================================
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from utils.errors import WtmoError

from . import values
from .errors import BigQueryError, invalid_query
from .storage import Resource, Table, TableRef

if TYPE_CHECKING:
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
    fields = values.checked_schema(described.schema)
    layout = (described.metadata.get("bigquery") or {}).get("time_partitioning")
    resource: Resource = {"schema": {"fields": fields}}
    if layout:
        partitioning = {"type": str(layout.get("type") or "day").upper(), "field": layout.get("field")}
        resource["timePartitioning"] = {key: value for key, value in partitioning.items() if value}
        resource["requirePartitionFilter"] = bool(layout.get("require_partition_filter"))
    return resource
