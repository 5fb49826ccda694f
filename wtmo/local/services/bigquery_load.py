"""Loads NDJSON files into BigQuery through its REST API: what a Fivetran destination does, with plain aiohttp.

The calls are those of https://cloud.google.com/bigquery/docs/reference/rest: datasets.insert, jobs.insert as a multipart
upload, jobs.get.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import aiohttp

from utils.labels import label_value

if TYPE_CHECKING:
    from wtmo.local.services.connectors import Declaration

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=60)
JOB_SECONDS = 600
POLL_SECONDS = 0.2


class LoadError(Exception):
    """The rows did not arrive; the text says of which table and why."""


async def load_tables(url: str, declaration: Declaration) -> int:
    """Replace every table of a connector by its rows, the data set made where it is missing.

    :param url: BigQuery's address with scheme: ``http://127.0.0.1:9050``.
    :return: how many rows BigQuery says it has loaded.
    :raises LoadError: at the first table that cannot be loaded.
    """
    connector = declaration.connector
    total = 0
    async with aiohttp.ClientSession(url, timeout=REQUEST_TIMEOUT) as session:
        try:
            await _ensure_dataset(session, connector.project, connector.schema_name)
        except (aiohttp.ClientError, TimeoutError, LoadError) as error:
            raise LoadError(f"data set {connector.project}.{connector.schema_name}: {_reason(error)}") from error
        for name in declaration.tables:
            try:
                total += await _load_table(session, declaration, name)
            except (aiohttp.ClientError, TimeoutError, LoadError, OSError) as error:
                table = f"{connector.project}.{connector.schema_name}.{name}"
                raise LoadError(f"table {table}: {_reason(error)}") from error
    return total


async def _ensure_dataset(session: aiohttp.ClientSession, project: str, dataset: str) -> None:
    body = {"datasetReference": {"projectId": project, "datasetId": dataset}}
    async with session.post(f"/bigquery/v2/projects/{project}/datasets", json=body) as response:
        if response.status != 409:  # it is there
            await _answer(response)


async def _load_table(session: aiohttp.ClientSession, declaration: Declaration, name: str) -> int:
    connector, table = declaration.connector, declaration.tables[name]
    job_id = f"fivetran_{declaration.id}_{name}_{uuid.uuid4().hex}"
    job = {
        "jobReference": {"projectId": connector.project, "jobId": job_id},
        "configuration": {
            "labels": {"fivetran-connector": label_value(declaration.id)},
            "load": {
                "destinationTable": {
                    "projectId": connector.project,
                    "datasetId": connector.schema_name,
                    "tableId": name,
                },
                "schema": {"fields": table.schema},
                "sourceFormat": "NEWLINE_DELIMITED_JSON",
                "writeDisposition": "WRITE_TRUNCATE",
                "createDisposition": "CREATE_IF_NEEDED",
            },
        },
    }
    rows = await asyncio.to_thread(table.rows.read_bytes)
    with aiohttp.MultipartWriter("related") as upload:
        upload.append_json(job)
        upload.append(rows, {"Content-Type": "application/octet-stream"})
    path = f"/upload/bigquery/v2/projects/{connector.project}/jobs?uploadType=multipart"
    async with session.post(path, data=upload) as response:
        result = await _answer(response)
    async with asyncio.timeout(JOB_SECONDS):
        while result.get("status", {}).get("state") != "DONE":
            await asyncio.sleep(POLL_SECONDS)
            async with session.get(f"/bigquery/v2/projects/{connector.project}/jobs/{job_id}") as response:
                result = await _answer(response)
    if problem := result["status"].get("errorResult"):
        raise LoadError(str(problem.get("message", problem)))
    return int(result.get("statistics", {}).get("load", {}).get("outputRows", 0))


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    text = await response.text()
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if response.status >= 400 or not isinstance(body, dict):
        error = body.get("error") if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else text[:500]
        raise LoadError(f"BigQuery answered {response.status}: {message}")
    return body


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
