"""The connectors of the Fivetran stand-in: one JSON file each, ``<connector_id>.json``.

The smallest one::

    {"service": "google_sheets", "schema": "sheets"}

One whose syncs bring rows into the local BigQuery; paths are relative to the JSON file::

    {
      "service": "netsuite_suiteanalytics",
      "schema": "netsuite",
      "sync_seconds": 2,
      "tables": {"accounts": {"rows": "accounts.ndjson", "schema": "accounts.schema.json"}}
    }

One for a test of what goes wrong: its first sync is put off for 5 seconds, its second fails, those after succeed, and the
first two status requests are answered 429::

    {
      "service": "bing_ads",
      "schema": "bing",
      "outcome": ["rescheduled", "failure", "success"],
      "reschedule_seconds": 5,
      "faults": [{"method": "GET", "status": 429, "times": 2, "retry_after": 1}]
    }

All keys are those of :class:`Connector`. An unknown key is an error that names file and key.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from pathlib import Path

Outcome = Literal["success", "failure", "rescheduled"]

CONNECTOR_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_BIGQUERY_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"


class _Closed(BaseModel):
    """JSON with no keys but the declared ones, and no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TableFiles(_Closed):
    """Where a table's rows come from.

    :param rows: an NDJSON file, one row a line.
    :param schema: a JSON file, the list of BigQuery fields.
    """

    rows: str
    schema_file: str = Field(alias="schema")


class Fault(_Closed):
    """An error that the API answers with, once or more, instead of doing what it was asked.

    :param method: which requests to the connector are meant. Default: all.
    :param status: the HTTP status, 400 to 599.
    :param times: how many requests are answered so, over the life of the state folder. Default: 1.
    :param retry_after: seconds to tell in ``Retry-After``. Default: no such header.
    """

    method: Literal["GET", "PATCH", "POST"] | None = None
    status: int = Field(ge=400, le=599)
    times: int = Field(default=1, ge=1)
    retry_after: int | None = Field(default=None, ge=0)


class Connector(_Closed):
    """How one connector looks and behaves.

    :param service: Fivetran's name of the source: ``google_sheets``.
    :param schema: the destination's data set, and the connector's name in Fivetran.
    :param group_id: the Fivetran group. Default: ``local``.
    :param project: the project that the tables go to. Default: ``moz-fx-data-bq-fivetran``.
    :param tables: the tables that a successful sync replaces, by name. Default: none.
    :param sync_seconds: how long a sync takes. Default: what ``--sync-seconds`` says.
    :param outcome: what becomes of a sync; as a list: of the first, second, ... and, with the last, of all later ones.
        Default: ``success``.
    :param failure_message: what Fivetran gives as reason for a failed sync.
    :param reschedule_seconds: how long a ``rescheduled`` sync is put off. Default: 5.
    :param succeeded_at: the end of the last successful sync before the first start; null where it never synced.
        Default: 2026-01-01.
    :param failed_at: likewise of the last failed one. Default: null.
    :param paused: whether it starts out paused. Default: no.
    :param schedule_type: ``auto`` or ``manual``. Default: ``auto``. The stand-in has no schedule: ``auto`` only resumes
        syncs that were put off.
    :param setup_state: ``connected`` (default), ``incomplete`` or ``broken``.
    :param setup_test: what its setup tests find while it is not connected: ``failed`` (default); ``passed`` (it then is
        connected); ``passed_still_broken`` (only a successful sync makes it connected, as astronomer issue 234 tells).
    :param faults: errors to answer with, in this order. Default: none.
    """

    service: str
    schema_name: str = Field(alias="schema", pattern=_BIGQUERY_NAME)
    group_id: str = "local"
    project: str = Field(default="moz-fx-data-bq-fivetran", pattern=r"^[a-z][a-z0-9-]*$")
    tables: dict[str, TableFiles] = {}
    sync_seconds: float | None = Field(default=None, ge=0)
    outcome: Outcome | list[Outcome] = "success"
    failure_message: str = "The source refused the connection (as this connector declares)"
    reschedule_seconds: float = Field(default=5, ge=0)
    succeeded_at: AwareDatetime | None = datetime(2026, 1, 1, tzinfo=UTC)
    failed_at: AwareDatetime | None = None
    paused: bool = False
    schedule_type: Literal["auto", "manual"] = "auto"
    setup_state: Literal["connected", "incomplete", "broken"] = "connected"
    setup_test: Literal["passed", "passed_still_broken", "failed"] = "failed"
    faults: list[Fault] = []

    def outcome_of(self, number: int) -> Outcome:
        """What becomes of the sync with this number; the first is 1."""
        if isinstance(self.outcome, str):
            return self.outcome
        return self.outcome[min(number, len(self.outcome)) - 1] if self.outcome else "success"


@dataclass(frozen=True)
class Table:
    """A table that syncs replace.

    :param schema: BigQuery's fields, each with ``name`` and ``type``.
    :param rows: the NDJSON file; read anew at each sync.
    """

    schema: list[dict[str, Any]]
    rows: Path


@dataclass(frozen=True)
class Declaration:
    """One connector with its files checked."""

    id: str
    connector: Connector
    tables: dict[str, Table]


def read_connectors(folder: Path) -> dict[str, Declaration]:
    """The connectors of a folder by id.

    :raises WtmoError: naming the file and the key, where one is not what it should be or the folder is missing.
    """
    if not folder.is_dir():
        raise WtmoError(f"the folder of Fivetran connectors {folder} does not exist", fix="give --connectors DIR")
    return {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}


def _read(path: Path) -> Declaration:
    if not CONNECTOR_ID.fullmatch(path.stem):
        raise WtmoError(
            f"{path}: {path.stem!r} is not a connector id: letters, digits, _ and - only", fix="rename the file"
        )
    try:
        connector = Connector.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise WtmoError(
            f"{path}: {problems}", fix="its keys are listed in wtmo/local/services/connectors.py"
        ) from error
    tables = {}
    for name, files in connector.tables.items():
        if not re.fullmatch(_BIGQUERY_NAME, name):
            raise WtmoError(f"{path}: tables.{name}: not a table name: letters, digits and _ only")
        rows = path.parent / files.rows
        if not rows.is_file():
            raise WtmoError(f"{path}: tables.{name}.rows: there is no file {rows}")
        tables[name] = Table(
            schema=_schema(path.parent / files.schema_file, f"{path}: tables.{name}.schema"), rows=rows
        )
    return Declaration(id=path.stem, connector=connector, tables=tables)


def _schema(path: Path, where: str) -> list[dict[str, Any]]:
    try:
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WtmoError(f"{where}: {path} cannot be read: {error}") from error
    if not isinstance(fields, list) or not all(
        isinstance(field, dict) and {"name", "type"} <= set(field) for field in fields
    ):
        raise WtmoError(f"{where}: {path} is not a list of BigQuery fields with name and type")
    return fields
