"""The BigQuery job of a query task, off its rendered fields. Runs in the sandbox only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from utils.bqetl import flags, jobs
from utils.errors import WtmoError
from wtmo.graph.describe.values import words
from wtmo.graph.model import Query

if TYPE_CHECKING:
    from collections.abc import Mapping

_BQETL_IMAGES = ("private-bigquery-etl", "bigquery-etl")


def query_of(task: Any, values: Mapping[str, Any], errors: Mapping[str, str], image: str | None) -> Query | None:
    """The BigQuery job of a query task; None where it is none.

    :param values: rendered fields.
    :param errors: why others can't be rendered.
    :param image: name of the image, where the task is a pod of one that has a name.
    """
    kinds = {base.__name__ for base in type(task).__mro__}
    if "BigQueryRunBqetlOperator" in kinds:
        return _bqetl_query("native", values, errors)
    if image in _BQETL_IMAGES:
        return _bqetl_query("pod", values, errors)
    if "BigQueryInsertJobOperator" in kinds:
        return _job(values, errors, getattr(task, "project_id", None))
    return None


def _bqetl_query(engine: str, values: Mapping[str, Any], errors: Mapping[str, str]) -> Query | None:
    if "arguments" in errors:
        return Query(engine, error=errors["arguments"])
    arguments = values.get("arguments") or []
    if not isinstance(arguments, list) or flags.bqetl_command([str(each) for each in arguments])[:1] not in (
        ["query"],
        ["check"],
    ):
        return None
    try:
        command = flags.parsed([str(each) for each in arguments])
        return None if command is None else _of_command(engine, *command)
    except (WtmoError, ValueError) as error:
        return Query(engine, error=words(error) if not isinstance(error, WtmoError) else error.what)


def _of_command(engine: str, kind: str, options: Any) -> Query:
    """What the runner makes of its arguments; see :mod:`utils.bqetl.plans`."""
    named = {"query": "name", "multipart": "query_dir", "check": "path"}[kind]
    file = str(getattr(options, named)).rstrip("/")
    parts = file.split("/")
    folder = parts[parts.index("sql") + 1 :] if "sql" in parts else []
    project, dataset = (folder[0], folder[1]) if len(folder) >= 3 else ("", "")
    own = options.project_id or project
    if kind == "check":
        target, billed = (own, dataset), options.billing_project or own
        return Query(
            engine,
            file=f"{file}/checks.sql" if folder else file,
            parameters=tuple(options.parameter),
            project=billed or None,
            dataset=".".join(target) if all(target) else None,
        )
    of_dataset = jobs.split_dataset(options.dataset_id, own, dataset)
    written = options.destination_table
    destination = jobs.qualified(written, *of_dataset) if written and not file.endswith("script.sql") else None
    return Query(
        engine,
        file=file,
        destination=destination,
        parameters=tuple(options.parameter),
        project=(options.billing_project if kind == "query" else None) or own or None,
        dataset=".".join(of_dataset) if all(of_dataset) else None,
    )


def _job(values: Mapping[str, Any], errors: Mapping[str, str], project: str | None) -> Query | None:
    if "configuration" in errors:
        return Query("native", error=errors["configuration"])
    configuration = values.get("configuration")
    query = configuration.get("query") if isinstance(configuration, dict) else None
    if not isinstance(query, dict):
        return None
    table, default = query.get("destinationTable") or {}, query.get("defaultDataset") or {}
    return Query(
        "native",
        sql=query.get("query"),
        destination=".".join(str(table.get(part, "")) for part in ("projectId", "datasetId", "tableId"))
        if table
        else None,
        parameters=tuple(
            f"{each.get('name', '')}:{each.get('parameterType', {}).get('type', '')}:{each.get('parameterValue', {}).get('value', '')}"
            for each in query.get("queryParameters") or []
        ),
        project=values.get("project_id") or project,
        dataset=".".join(str(default.get(part, "")) for part in ("projectId", "datasetId")) if default else None,
    )
