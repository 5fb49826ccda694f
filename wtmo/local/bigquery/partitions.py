"""Partitioned tables: which partition a row belongs to, and what a decorator (``table$20260601``) may say."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import values
from .errors import invalid
from .storage import WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .storage import Resource
    from .values import Field

NULL_PARTITION = "__NULL__"
UNPARTITIONED = "__UNPARTITIONED__"

_FORMAT = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
_DIGITS = {10: "HOUR", 8: "DAY", 6: "MONTH", 4: "YEAR"}


@dataclass(frozen=True)
class Partitioning:
    """How a table is partitioned.

    :param kind: HOUR, DAY, MONTH, YEAR or RANGE. :param column: None for ingestion time.
    :param start, end, interval: of an integer range.
    """

    kind: str
    column: str | None
    start: int = 0
    end: int = 0
    interval: int = 1

    @classmethod
    def of(cls, resource: Resource) -> Partitioning | None:
        """Read a table's resource or a job's configuration; None where nothing says partitioned.

        :raises BigQueryError: an unknown type or an impossible range.
        """
        if time := resource.get("timePartitioning"):
            kind = str(time.get("type") or "DAY").upper()
            if kind not in _FORMAT:
                raise invalid(f"Invalid time partitioning type: {kind}")
            return cls(kind, time.get("field"))
        if by_range := resource.get("rangePartitioning"):
            bounds = by_range.get("range", {})
            start, end, interval = (int(bounds.get(key, 0)) for key in ("start", "end", "interval"))
            if interval <= 0 or end <= start:
                raise invalid("rangePartitioning needs start < end and interval > 0")
            return cls("RANGE", by_range.get("field"), start, end, interval)
        return None

    @classmethod
    def of_decorator(cls, partition: str) -> Partitioning:
        """What a table becomes that is made by a write to ``table$20260601``: partitioned by ingestion time.

        :raises BigQueryError: the decorator is no time.
        """
        kind = _DIGITS.get(len(partition)) if partition.isdigit() else None
        if not kind:
            raise invalid(f"Invalid partition decorator: ${partition}")
        return cls(kind, None)

    def check_schema(self, fields: Sequence[Field]) -> None:
        """:raises BigQueryError: the column is missing, nested, repeated or of a type that can't be partitioned by."""
        if self.column is None:
            return
        field = find_field(fields, self.column)
        if field is None:
            raise invalid(f"The field specified for partitioning cannot be found in the schema: {self.column}")
        allowed = {"RANGE": {"INTEGER"}, "HOUR": {"TIMESTAMP", "DATETIME"}}.get(
            self.kind, {"DATE", "TIMESTAMP", "DATETIME"}
        )
        if field["type"] not in allowed or values.is_repeated(field):
            kinds = ", ".join(sorted(allowed))
            raise invalid(f"The field specified for {self.kind} partitioning must be one of {kinds}: {self.column}")

    def check_decorator(self, partition: str) -> None:
        """:raises BigQueryError: the decorator does not name a partition of such a table."""
        if partition in {NULL_PARTITION, UNPARTITIONED}:
            return
        try:
            if self.kind == "RANGE":
                number = int(partition)
                if not self.start <= number < self.end or (number - self.start) % self.interval:
                    raise ValueError
            elif dt.datetime.strptime(partition, _FORMAT[self.kind]).strftime(_FORMAT[self.kind]) != partition:
                raise ValueError
        except ValueError:
            raise invalid(f"Invalid partition ID ${partition} for a table partitioned by {self.kind}") from None

    def partition_of(self, cell: Any, field: Field) -> str:
        """The id of the partition that a row with this cell in the partitioning column belongs to."""
        if cell.WhichOneof("value") is None:
            return NULL_PARTITION
        if self.kind == "RANGE":
            number = cell.int64_value
            if not self.start <= number < self.end:
                return UNPARTITIONED
            return str(self.start + (number - self.start) // self.interval * self.interval)
        read = {"DATE": values.date_of, "DATETIME": values.datetime_of, "TIMESTAMP": values.timestamp_of}[field["type"]]
        return self.format(read(cell))

    def format(self, moment: dt.date) -> str:
        """The id of the partition of a moment."""
        # strftime("%Y") does not pad years under 1000 everywhere.
        return f"{moment.year:04d}" + moment.strftime(_FORMAT[self.kind].removeprefix("%Y"))

    def current(self) -> str:
        """The partition that rows go to which arrive now in a table partitioned by ingestion time."""
        return self.format(dt.datetime.now(dt.UTC))

    def start_of(self, partition: str) -> dt.datetime | None:
        """When a partition begins (UTC); None for the special ones."""
        if not partition.isdigit():
            return None
        return dt.datetime.strptime(partition, _FORMAT[self.kind]).replace(tzinfo=dt.UTC)


def find_field(fields: Sequence[Field], name: str) -> Field | None:
    """A top-level field by its case-insensitive name."""
    return next((field for field in fields if field["name"].lower() == name.lower()), None)


def split_decorator(table_id: str) -> tuple[str, str | None]:
    """``t$20260601`` to ``("t", "20260601")``; without a decorator the second is None.

    :raises BigQueryError: an invalid name or decorator.
    """
    name, sign, partition = table_id.partition("$")
    if not re.fullmatch(r"[\w\- ]{1,1024}", name) or (sign and not re.fullmatch(r"\d{1,19}|-\d+|__\w+__", partition)):
        raise invalid(
            f'Invalid table ID "{table_id}". '
            "Table IDs must be alphanumeric (plus underscores) and must be at most 1024 characters long."
        )
    return name, partition if sign else None


def parts_key(partitioning: Partitioning | None, partition: str | None) -> str | None:
    """Which stored partition a decorator means; None for the whole table.

    :raises BigQueryError: the decorator does not fit the table.
    """
    if partition is None:
        return None
    if partitioning is None:
        raise invalid(f"Partition ID {partition} was given for a table that is not partitioned")
    partitioning.check_decorator(partition)
    return partition


__all__ = ["NULL_PARTITION", "UNPARTITIONED", "WHOLE", "Partitioning", "find_field", "parts_key", "split_decorator"]
