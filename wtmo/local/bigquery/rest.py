"""The routes of BigQuery's REST API, version 2."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import information_schema, values, writes
from .catalog import Binder, Scope
from .errors import LOCAL_ERROR, BigQueryError, already_exists, invalid, unsupported
from .googlesql import Cancellation
from .jobs import to_json
from .partitions import Partitioning, parts_key, split_decorator
from .protos import service
from .query import view_schema
from .rewrites import USER
from .storage import Part, TableRef, etag, now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .googlesql import EvaluatorPool
    from .jobs import Jobs
    from .storage import Resource, Storage, Table
    from .values import Field

log = logging.getLogger(__name__)

MAX_UPLOAD = 1 << 30
"""Bytes of the largest request."""

_DEFAULT_WAIT_SECONDS = 10.0
_MAX_WAIT_SECONDS = 200.0
_PAGE_BYTES = 10 << 20
_READ_ONLY = {
    "kind",
    "id",
    "selfLink",
    "etag",
    "numRows",
    "numBytes",
    "numLongTermBytes",
    "numTotalLogicalBytes",
    "type",
}
_SUMMARY = "__PARTITIONS_SUMMARY__"


@dataclass
class _Upload:
    """A resumable upload under way."""

    project: str
    body: Resource
    data: bytearray


class Api:
    """The handlers, and what they share."""

    def __init__(self, storage: Storage, pool: EvaluatorPool, jobs: Jobs) -> None:
        """Make the handlers."""
        self._storage = storage
        self._pool = pool
        self._jobs = jobs
        self._uploads: dict[str, _Upload] = {}

    def routes(self) -> list[web.RouteDef]:
        """Every route."""
        project = "/bigquery/v2/projects/{project}"
        dataset = f"{project}/datasets/{{dataset}}"
        table = f"{dataset}/tables/{{table}}"
        routine = f"{dataset}/routines/{{routine}}"
        upload = "/upload" + project + "/jobs"
        return [
            web.get("/healthz", self.health),
            web.get("/bigquery/v2/projects", self.list_projects),
            web.get(f"{project}/serviceAccount", self.service_account),
            web.get(f"{project}/datasets", self.list_datasets),
            web.post(f"{project}/datasets", self.insert_dataset),
            web.get(dataset, self.get_dataset),
            web.patch(dataset, self.patch_dataset),
            web.put(dataset, self.patch_dataset),
            web.delete(dataset, self.delete_dataset),
            web.get(f"{dataset}/tables", self.list_tables),
            web.post(f"{dataset}/tables", self.insert_table),
            web.get(table, self.get_table),
            web.patch(table, self.patch_table),
            web.put(table, self.patch_table),
            web.delete(table, self.delete_table),
            web.get(f"{table}/data", self.list_rows),
            web.post(f"{table}/insertAll", self.insert_all),
            web.get(f"{dataset}/routines", self.list_routines),
            web.post(f"{dataset}/routines", self.insert_routine),
            web.get(routine, self.get_routine),
            web.put(routine, self.update_routine),
            web.delete(routine, self.delete_routine),
            web.get(f"{project}/jobs", self.list_jobs),
            web.post(f"{project}/jobs", self.insert_job),
            web.get(f"{project}/jobs/{{job}}", self.get_job),
            web.post(f"{project}/jobs/{{job}}/cancel", self.cancel_job),
            web.delete(f"{project}/jobs/{{job}}/delete", self.delete_job),
            web.post(f"{project}/queries", self.query),
            web.get(f"{project}/queries/{{job}}", self.query_results),
            web.post(upload, self.upload),
            web.put(upload, self.upload_chunk),
            web.post("/resumable" + upload, self.upload),
            web.put("/resumable" + upload, self.upload_chunk),
        ]

    # -- general

    async def health(self, request: web.Request) -> web.Response:
        """The server lives."""
        return web.json_response({"status": "ok"})

    async def list_projects(self, request: web.Request) -> web.Response:
        """Every project that has a dataset."""
        names = await asyncio.to_thread(self._storage.projects)
        projects = [
            {
                "kind": "bigquery#project",
                "id": name,
                "numericId": "1",
                "projectReference": {"projectId": name},
                "friendlyName": name,
            }
            for name in names
        ]
        return web.json_response({"kind": "bigquery#projectList", "projects": projects, "totalItems": len(projects)})

    async def service_account(self, request: web.Request) -> web.Response:
        """The project's service account."""
        return web.json_response({"kind": "bigquery#getServiceAccountResponse", "email": USER})

    # -- datasets

    async def list_datasets(self, request: web.Request) -> web.Response:
        """``datasets.list``: ``all``, ``filter=labels.k:v``, pages."""
        project = request.match_info["project"]
        every = request.query.get("all") == "true"
        found = [
            d
            for d in self._storage.datasets(project)
            if (every or not d["datasetReference"]["datasetId"].startswith("_"))
        ]
        for key, value in re.findall(r"labels\.([\w-]+)(?::([\w-]*))?", request.query.get("filter", "")):
            found = [d for d in found if key in d.get("labels", {}) and (not value or d["labels"][key] == value)]
        items = [
            {
                "kind": "bigquery#dataset",
                "id": f"{project}:{d['datasetReference']['datasetId']}",
                **{key: d[key] for key in ("datasetReference", "labels", "friendlyName", "location") if key in d},
            }
            for d in found
        ]
        return _page(request, "datasets", items, {"kind": "bigquery#datasetList"})

    async def insert_dataset(self, request: web.Request) -> web.Response:
        """``datasets.insert``."""
        project, body = request.match_info["project"], await _body(request)
        dataset = str((body.get("datasetReference") or {}).get("datasetId", ""))
        if not writes.safe_name(dataset):
            raise invalid(
                f'Invalid dataset ID "{dataset}". '
                "Dataset IDs must be alphanumeric (plus underscores) and must be at most 1024 characters long."
            )
        resource = writes.dataset_resource(project, dataset, {k: v for k, v in body.items() if k not in _READ_ONLY})
        await asyncio.to_thread(self._storage.create_dataset, project, dataset, resource)
        return web.json_response(_dataset_json(resource))

    async def get_dataset(self, request: web.Request) -> web.Response:
        """``datasets.get``."""
        return web.json_response(_dataset_json(self._dataset(request)))

    def _dataset(self, request: web.Request) -> Resource:
        return self._storage.dataset(request.match_info["project"], request.match_info["dataset"])

    async def patch_dataset(self, request: web.Request) -> web.Response:
        """``datasets.patch`` and, with PUT, ``datasets.update``."""
        body = await _body(request)

        def change() -> Resource:
            with self._storage.transaction():
                old = self._dataset(request)
                _check_etag(request, _dataset_json(old)["etag"])
                keep = {"datasetReference", "creationTime", "location"}
                resource = _patched(old, body, keep, replace=request.method == "PUT")
                resource |= {"lastModifiedTime": str(now_ms())}
                self._storage.update_dataset(request.match_info["project"], request.match_info["dataset"], resource)
                return resource

        resource = await asyncio.to_thread(change)
        return web.json_response(_dataset_json(resource))

    async def delete_dataset(self, request: web.Request) -> web.Response:
        """``datasets.delete``."""
        contents = request.query.get("deleteContents") == "true"
        await asyncio.to_thread(
            self._storage.delete_dataset,
            request.match_info["project"],
            request.match_info["dataset"],
            contents=contents,
        )
        return web.Response(status=204)

    # -- tables

    async def list_tables(self, request: web.Request) -> web.Response:
        """``tables.list``."""
        self._dataset(request)
        tables = self._storage.tables(request.match_info["project"], request.match_info["dataset"])
        shown = (
            "tableReference",
            "type",
            "timePartitioning",
            "rangePartitioning",
            "clustering",
            "labels",
            "creationTime",
            "friendlyName",
        )
        items = [
            {"kind": "bigquery#table", "id": str(t.ref), **{k: t.resource[k] for k in shown if k in t.resource}}
            for t in tables
        ]
        return _page(request, "tables", items, {"kind": "bigquery#tableList", "totalItems": len(items)})

    async def insert_table(self, request: web.Request) -> web.Response:
        """``tables.insert``, of tables and views."""
        project, dataset = request.match_info["project"], request.match_info["dataset"]
        body = await _body(request)
        name, decorator = split_decorator(str((body.get("tableReference") or {}).get("tableId", "")))
        if decorator:
            raise invalid("A table is made without a partition decorator")
        ref = TableRef(project, dataset, name)
        location = self._dataset(request).get("location", "US")
        properties = {k: v for k, v in body.items() if k not in _READ_ONLY | {"tableReference"}}
        resource = writes.table_resource(ref, location, **await self._checked_table(ref, properties))
        table = await asyncio.to_thread(self._storage.create_table, ref, resource)
        return web.json_response(writes.table_to_json(self._storage, table))

    async def _checked_table(self, ref: TableRef, resource: Resource) -> Resource:
        for key in (
            "externalDataConfiguration",
            "materializedView",
            "snapshotDefinition",
            "cloneDefinition",
            "tableConstraints",
        ):
            if resource.get(key):
                raise unsupported(key, query=False)
        if view := resource.get("view"):
            if view.get("useLegacySql") is True:
                raise unsupported("views in legacy SQL", query=False)
            binder = Binder(self._storage, self._pool, Scope(ref.project), Cancellation(), with_rows=False)
            fields, _ = await asyncio.to_thread(view_schema, binder, ref, str(view.get("query", "")))
            given = {f["name"].lower(): f.get("description") for f in (resource.get("schema") or {}).get("fields", [])}
            fields = [
                f | ({"description": given[f["name"].lower()]} if given.get(f["name"].lower()) else {}) for f in fields
            ]
            return {**resource, "schema": {"fields": fields}}
        if resource.get("schema"):
            resource = {**resource, "schema": {"fields": values.checked_schema(resource["schema"].get("fields") or [])}}
        writes.check_table(resource)
        return resource

    def _table(self, request: web.Request) -> tuple[Table, str | None]:
        name, partition = split_decorator(request.match_info["table"])
        return self._storage.table(
            TableRef(request.match_info["project"], request.match_info["dataset"], name)
        ), partition

    async def get_table(self, request: web.Request) -> web.Response:
        """``tables.get``; with a decorator the counts are those of the partition."""
        table, partition = self._table(request)
        if partition == _SUMMARY:
            return web.json_response(self._summary_table(table))
        answer = writes.table_to_json(self._storage, table)
        if partition is not None:
            key = parts_key(Partitioning.of(table.resource), partition)
            held = [p for p in self._storage.partitions(table.id) if p.partition == key]
            answer |= {"numRows": str(sum(p.rows for p in held)), "numBytes": str(sum(p.size for p in held))}
            answer["tableReference"] = {**table.ref.to_json(), "tableId": request.match_info["table"]}
        return web.json_response(answer)

    def _summary_table(self, table: Table) -> Resource:
        reference = {**table.ref.to_json(), "tableId": f"{table.ref.table}${_SUMMARY}"}
        count = str(len(self._storage.partitions(table.id)))
        schema = {"fields": information_schema.PARTITIONS_SUMMARY}
        resource = {
            "kind": "bigquery#table",
            "type": "TABLE",
            "tableReference": reference,
            "schema": schema,
            "numRows": count,
        }
        return resource | {"id": f"{table.ref}${_SUMMARY}", "etag": etag(resource)}

    async def patch_table(self, request: web.Request) -> web.Response:
        """``tables.patch`` and, with PUT, ``tables.update``: schema (fields may be added and relaxed), view,
        descriptions, labels.
        """
        body = await _body(request)
        table, partition = self._table(request)
        if partition is not None:
            raise invalid("A partition can't be changed; name the table")
        _check_etag(request, writes.table_to_json(self._storage, table)["etag"])
        replace = request.method == "PUT"
        keep = {
            "tableReference",
            "creationTime",
            "location",
            "type",
            "timePartitioning",
            "rangePartitioning",
            "schema",
            "view",
        }
        resource = await self._checked_table(table.ref, _patched(table.resource, body, keep, replace=replace))
        fields = resource.get("schema", {}).get("fields", [])
        for key in ("timePartitioning", "rangePartitioning"):
            if Partitioning.of({key: resource.get(key)}) != Partitioning.of({key: table.resource.get(key)}):
                raise invalid(f"Cannot change partitioning of table {table.ref}")

        def change() -> Table:
            with self._jobs.locks.hold(table.ref), self._storage.transaction():
                current = self._storage.table(table.ref)
                if current.view_query is None:
                    _check_schema_change(current, fields)
                    current = writes.change_schema(self._storage, current, fields)
                return self._storage.update_table(current, resource | {"lastModifiedTime": str(now_ms())})

        changed = await asyncio.to_thread(change)
        return web.json_response(writes.table_to_json(self._storage, changed))

    async def delete_table(self, request: web.Request) -> web.Response:
        """``tables.delete``; with a decorator the partition's rows go."""
        table, partition = self._table(request)

        def delete() -> None:
            with self._jobs.locks.hold(table.ref), self._storage.transaction():
                if partition is None:
                    self._storage.delete_table(table.ref)
                else:
                    self._storage.clear(table.id, parts_key(Partitioning.of(table.resource), partition))

        await asyncio.to_thread(delete)
        return web.Response(status=204)

    # -- rows

    async def list_rows(self, request: web.Request) -> web.Response:
        """``tabledata.list``."""
        info = request.match_info
        chosen = request.query.get("selectedFields")
        names = chosen.split(",") if chosen else None
        _, answer = await asyncio.to_thread(
            self._page_of, info["project"], info["dataset"], info["table"], request.query, names
        )
        return web.json_response({"kind": "bigquery#tableDataList", "etag": etag(answer), **answer})

    def _page_of(
        self, project: str, dataset: str, table_id: str, options: Any, chosen: list[str] | None = None
    ) -> tuple[list[Field], Resource]:
        """The schema of a table, and a page of its rows or of one partition's."""
        name, partition = split_decorator(table_id)
        with self._storage.snapshot():
            table = self._storage.table(TableRef(project, dataset, name))
            if table.view_query is not None:
                raise invalid(f"Cannot list a table of type VIEW: {table.ref}")
            if partition == _SUMMARY:
                fields = information_schema.PARTITIONS_SUMMARY
                summary = information_schema.partitions_summary(self._storage, table)
                parts = [_part([values.to_row(row, fields) for row in summary])]
            else:
                fields = table.fields
                parts = self._storage.parts(table.id, parts_key(Partitioning.of(table.resource), partition))
        return fields, _rows_page(parts, fields, options, chosen)

    async def insert_all(self, request: web.Request) -> web.Response:
        """``tabledata.insertAll``: all rows or none, unless ``skipInvalidRows``."""
        body = await _body(request)
        table, partition = self._table(request)
        if body.get("templateSuffix"):
            raise unsupported("templateSuffix", query=False)
        fields, errors, rows = table.fields, [], []
        for index, entry in enumerate(body.get("rows") or ()):
            try:
                rows.append(
                    values.to_row(entry.get("json"), fields, ignore_unknown=bool(body.get("ignoreUnknownValues")))
                )
            except BigQueryError as error:
                detail = {
                    "reason": "invalid",
                    "location": error.location or "",
                    "debugInfo": "",
                    "message": error.message,
                }
                errors.append({"index": index, "errors": [detail]})
        if errors and not body.get("skipInvalidRows"):
            bad = {error["index"] for error in errors}
            stopped = [{"reason": "stopped", "location": "", "debugInfo": "", "message": ""}]
            good = [{"index": i, "errors": stopped} for i in range(len(body["rows"])) if i not in bad]
            return web.json_response({"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors + good})

        def append() -> None:
            with self._jobs.locks.hold(table.ref), self._storage.transaction():
                writes.write_rows(
                    self._storage, writes.Destination(table.ref, partition, write="WRITE_APPEND"), fields, rows
                )

        await asyncio.to_thread(append)
        answer: Resource = {"kind": "bigquery#tableDataInsertAllResponse"}
        return web.json_response(answer | ({"insertErrors": errors} if errors else {}))

    # -- routines

    async def list_routines(self, request: web.Request) -> web.Response:
        """``routines.list``."""
        self._dataset(request)
        routines = self._storage.routines(request.match_info["project"], request.match_info["dataset"])
        return _page(request, "routines", [r | {"etag": etag(r)} for r in routines], {})

    def _routine_ref(self, request: web.Request, name: str) -> TableRef:
        return TableRef(request.match_info["project"], request.match_info["dataset"], name)

    async def insert_routine(self, request: web.Request) -> web.Response:
        """``routines.insert``, of SQL functions."""
        body = await _body(request)
        ref = self._routine_ref(request, str((body.get("routineReference") or {}).get("routineId", "")))
        if self._storage.find_routine(ref):
            raise already_exists("Routine", ref)
        return await self._put_routine(ref, body, replace=False)

    async def update_routine(self, request: web.Request) -> web.Response:
        """``routines.update``."""
        ref = self._routine_ref(request, request.match_info["routine"])
        self._storage.routine(ref)
        return await self._put_routine(ref, await _body(request), replace=True)

    async def _put_routine(self, ref: TableRef, body: Resource, *, replace: bool) -> web.Response:
        if not writes.safe_name(ref.table):
            raise invalid(f'Invalid routine ID "{ref.table}"')
        now = str(now_ms())
        reference = {"projectId": ref.project, "datasetId": ref.dataset, "routineId": ref.table}
        resource = {"routineType": "SCALAR_FUNCTION", "language": "SQL", "creationTime": now, **body}
        resource |= {"routineReference": reference, "lastModifiedTime": now}
        binder = Binder(self._storage, self._pool, Scope(ref.project), Cancellation(), with_rows=False)
        await asyncio.to_thread(binder.check_routine, resource)
        await asyncio.to_thread(self._storage.put_routine, ref, resource, replace=replace)
        return web.json_response(resource | {"etag": etag(resource)})

    async def get_routine(self, request: web.Request) -> web.Response:
        """``routines.get``."""
        resource = self._storage.routine(self._routine_ref(request, request.match_info["routine"]))
        return web.json_response(resource | {"etag": etag(resource)})

    async def delete_routine(self, request: web.Request) -> web.Response:
        """``routines.delete``."""
        ref = self._routine_ref(request, request.match_info["routine"])
        await asyncio.to_thread(self._storage.delete_routine, ref)
        return web.Response(status=204)

    # -- jobs

    async def insert_job(self, request: web.Request) -> web.Response:
        """``jobs.insert``."""
        return web.json_response(await self._jobs.insert(request.match_info["project"], await _body(request)))

    async def get_job(self, request: web.Request) -> web.Response:
        """``jobs.get``."""
        info = request.match_info
        return web.json_response(to_json(self._jobs.get(info["project"], info["job"], request.query.get("location"))))

    async def cancel_job(self, request: web.Request) -> web.Response:
        """``jobs.cancel``."""
        info = request.match_info
        job = await self._jobs.cancel(info["project"], info["job"], request.query.get("location"))
        return web.json_response({"kind": "bigquery#jobCancelResponse", "job": to_json(job)})

    async def delete_job(self, request: web.Request) -> web.Response:
        """``jobs.delete``."""
        self._jobs.delete(request.match_info["project"], request.match_info["job"])
        return web.Response(status=204)

    async def list_jobs(self, request: web.Request) -> web.Response:
        """``jobs.list``: ``stateFilter``, ``minCreationTime``, ``maxCreationTime``, ``projection``, pages. All jobs
        have one user.
        """
        query = request.query
        if query.get("parentJobId"):
            raise unsupported("parentJobId (child jobs of scripts are not kept)", query=False)
        limit, offset = min(_number(query, "maxResults", 50), 1000), _number(query, "pageToken", 0)
        jobs = await asyncio.to_thread(
            self._storage.jobs,
            request.match_info["project"],
            states=[state.upper() for state in query.getall("stateFilter", [])],
            oldest=_number(query, "minCreationTime", 0),
            newest=_number(query, "maxCreationTime", 1 << 62),
            offset=offset,
            limit=limit + 1,
        )
        hidden = set() if query.get("projection", "").lower() == "full" else {"configuration"}
        items = [{k: v for k, v in to_json(job).items() if k not in hidden} for job in jobs[:limit]]
        for item in items:
            item["state"] = item["status"]["state"]
            if "errorResult" in item["status"]:
                item["errorResult"] = item["status"]["errorResult"]
        answer: Resource = {"kind": "bigquery#jobList", "etag": etag({"jobs": items}), "jobs": items}
        if len(jobs) > limit:
            answer["nextPageToken"] = str(offset + limit)
        return web.json_response(answer)

    async def query(self, request: web.Request) -> web.Response:
        """``jobs.query``."""
        project, body = request.match_info["project"], await _body(request)
        names = (
            "query",
            "defaultDataset",
            "useLegacySql",
            "parameterMode",
            "queryParameters",
            "maximumBytesBilled",
            "writeIncrementalResults",
        )
        configuration: Resource = {"query": {name: body[name] for name in names if body.get(name) is not None}}
        if body.get("labels"):
            configuration["labels"] = body["labels"]
        if body.get("dryRun"):
            configuration["dryRun"] = True
        reference = {"location": body["location"]} if body.get("location") else {}
        job = await self._jobs.insert(project, {"configuration": configuration, "jobReference": reference})
        if body.get("dryRun"):
            query = job["statistics"]["query"]
            return web.json_response({
                "kind": "bigquery#queryResponse",
                "jobComplete": True,
                "jobReference": job["jobReference"],
                "totalBytesProcessed": query["totalBytesProcessed"],
                "schema": query.get("schema", {"fields": []}),
                "cacheHit": False,
            })
        job_id = job["jobReference"]["jobId"]
        seconds = _number(body, "timeoutMs", int(_DEFAULT_WAIT_SECONDS * 1000)) / 1000
        return await self._results(project, job_id, seconds, "bigquery#queryResponse", body)

    async def query_results(self, request: web.Request) -> web.Response:
        """``jobs.getQueryResults``: the rows of the job's destination table as it is now."""
        project, job_id = request.match_info["project"], request.match_info["job"]
        self._jobs.get(project, job_id, request.query.get("location"))
        seconds = _number(request.query, "timeoutMs", int(_DEFAULT_WAIT_SECONDS * 1000)) / 1000
        return await self._results(project, job_id, seconds, "bigquery#getQueryResultsResponse", request.query)

    async def _results(self, project: str, job_id: str, seconds: float, kind: str, options: Any) -> web.Response:
        job = await self._jobs.wait(project, job_id, min(seconds, _MAX_WAIT_SECONDS))
        if "query" not in job["configuration"]:
            raise invalid(f"Job {job_id} is not a query job")
        answer: Resource = {"kind": kind, "jobReference": job["jobReference"], "jobComplete": False}
        if job["status"]["state"] != "DONE":
            return web.json_response(answer)
        if "errorResult" in job["status"]:
            raise BigQueryError.from_proto(job["status"]["errorResult"])
        statistics = job["statistics"]["query"]
        answer |= {
            "jobComplete": True,
            "cacheHit": False,
            "totalBytesProcessed": statistics["totalBytesProcessed"],
            "location": job["jobReference"]["location"],
            "creationTime": job["statistics"]["creationTime"],
            "startTime": job["statistics"]["startTime"],
            "endTime": job["statistics"]["endTime"],
            "statementType": statistics["statementType"],
        }
        if "numDmlAffectedRows" in statistics:
            answer |= {"numDmlAffectedRows": statistics["numDmlAffectedRows"], "dmlStats": statistics["dmlStats"]}
        target = job["configuration"]["query"].get("destinationTable")
        if target and "_schema" in statistics and statistics["statementType"] in {"SELECT", "SCRIPT"}:
            owner = target.get("projectId") or project
            fields, page = await asyncio.to_thread(
                self._page_of, owner, target["datasetId"], target["tableId"], options
            )
            answer |= {"schema": {"fields": fields}, **page}
        else:
            answer |= {"schema": {"fields": []}, "totalRows": "0"}
        return web.json_response(answer | {"etag": etag(answer)})

    # -- uploads

    async def upload(self, request: web.Request) -> web.Response:
        """``jobs.insert`` with data: all in one (``multipart``), or the start of a ``resumable`` upload."""
        project = request.match_info["project"]
        if request.query.get("uploadType") == "multipart":
            body, data = await _multipart(request)
            return web.json_response(await self._jobs.insert(project, body, data))
        if request.query.get("uploadType") != "resumable":
            raise invalid("uploadType must be multipart or resumable")
        upload_id = uuid.uuid4().hex
        self._uploads[upload_id] = _Upload(project, await _body(request), bytearray())
        url = request.url.with_query({"uploadType": "resumable", "upload_id": upload_id})
        return web.Response(headers={"Location": str(url), "X-GUploader-UploadID": upload_id})

    async def upload_chunk(self, request: web.Request) -> web.Response:
        """The next bytes of a resumable upload; the last ones make the job."""
        upload_id = request.query.get("upload_id", "")
        upload = self._uploads.get(upload_id)
        if upload is None:
            raise BigQueryError("notFound", "Not found: this upload is unknown, or its job was made")
        data = await request.read()
        given = request.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", given)
        if given and not match:
            raise invalid(f"Invalid Content-Range: {given}")
        start = int(match[1]) if match and match[1] else len(upload.data)
        if start > len(upload.data):
            raise invalid(f"Content-Range starts at {start}, but only {len(upload.data)} bytes have come")
        upload.data[start:] = data if data else upload.data[start:]
        total = match[3] if match else str(len(upload.data))
        if total == "*" or len(upload.data) < int(total):
            headers = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
            return web.Response(status=308, headers=headers)
        job = await self._jobs.insert(upload.project, upload.body, bytes(upload.data))
        del self._uploads[upload_id]
        return web.json_response(job)


# ---------------------------------------------------------------------------------------------------------- middleware


@web.middleware
async def errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer every error in Google's shape."""
    started = time.monotonic()
    try:
        return await handler(request)
    except BigQueryError as error:
        return web.json_response(error.body(), status=error.status)
    except web.HTTPException as error:
        reason = "notFound" if error.status == web.HTTPNotFound.status_code else "invalid"
        body = BigQueryError(reason, f"{error.reason}: {request.method} {request.path}").body()
        body["error"]["code"] = error.status
        return web.json_response(body, status=error.status)
    except Exception:
        log.exception("%s %s after %.2f s", request.method, request.path, time.monotonic() - started)
        failure = BigQueryError(
            LOCAL_ERROR, f"The local BigQuery failed in {request.method} {request.path}; its log says why"
        )
        return web.json_response(failure.body(), status=failure.status)


# ------------------------------------------------------------------------------------------------------------- helpers


async def _body(request: web.Request) -> Resource:
    text = await request.text()
    try:
        body = json.loads(text) if text else {}
    except ValueError as error:
        raise invalid(f"The request is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("The request must be a JSON object")
    return body


async def _multipart(request: web.Request) -> tuple[Resource, bytes]:
    """The two parts of a ``multipart/related`` upload: the job as JSON, and its data."""
    match = re.search(r'boundary="?([^";]+)"?', request.headers.get("Content-Type", ""))
    if not match:
        raise invalid("A multipart upload needs a boundary in its Content-Type")
    # Split by hand: the data may be anything, and aiohttp's reader would decode it by its headers.
    sections = (b"\r\n" + await request.read()).split(b"\r\n--" + match[1].encode())
    contents = [section.split(b"\r\n\r\n", 1)[1] for section in sections[1:-1] if b"\r\n\r\n" in section]
    if len(contents) != 2:
        raise invalid("A multipart upload has two parts: the job and its data")
    try:
        return dict(json.loads(contents[0])), contents[1]
    except ValueError as error:
        raise invalid(f"The first part of the upload is not JSON: {error}") from None


def _number(options: Any, name: str, default: int) -> int:
    given = options.get(name)
    if given is None or given == "":
        return default
    try:
        number = int(given)
    except (TypeError, ValueError):
        raise invalid(f"Invalid value for {name}: {given}") from None
    if number < 0:
        raise invalid(f"Invalid value for {name}: {given}")
    return number


def _page(request: web.Request, name: str, items: list[Resource], answer: Resource) -> web.Response:
    offset = _number(request.query, "pageToken", 0)
    limit = _number(request.query, "maxResults", 1000) or 1000
    page = items[offset : offset + limit]
    answer = answer | {"etag": etag({name: page})} | ({name: page} if page else {})
    if offset + limit < len(items):
        answer["nextPageToken"] = str(offset + limit)
    return web.json_response(answer)


def _part(rows: list[Any]) -> Part:
    return Part("", len(rows), service.TableData(row=rows).SerializeToString())


def _rows_page(parts: Sequence[Part], fields: list[Field], options: Any, chosen: list[str] | None) -> Resource:
    """One page of rows: ``startIndex`` or ``pageToken``, ``maxResults``, at most about 10 MB."""
    total = sum(part.rows for part in parts)
    start = _number(options, "pageToken", _number(options, "startIndex", 0))
    limit = _number(options, "maxResults", total)
    timestamps = _timestamps(options)
    columns = list(range(len(fields)))
    if chosen is not None:
        wanted = {name.strip().lower() for name in chosen}
        columns = [i for i in columns if fields[i]["name"].lower() in wanted]
        if len(columns) != len(wanted):
            raise invalid(
                "selectedFields names a field that the table does not have, or a nested one, which is not supported"
            )
    picked = [fields[i] for i in columns]
    rows: list[Resource] = []
    position = size = 0
    for part in parts:
        if position + part.rows <= start or len(rows) >= limit or size > _PAGE_BYTES:
            position += part.rows
            continue
        for row in service.TableData.FromString(part.data).row:
            position += 1
            if position <= start or len(rows) >= limit or size > _PAGE_BYTES:
                continue
            cells = row.cell if chosen is None else [row.cell[i] for i in columns]
            rows.append({"f": [{"v": values.to_json(c, f, timestamps)} for c, f in zip(cells, picked, strict=True)]})
            size += row.ByteSize()
    answer: Resource = {"totalRows": str(total)}
    if rows:
        answer["rows"] = rows
    if start + len(rows) < total and rows:
        answer["pageToken"] = str(start + len(rows))
    return answer


def _timestamps(options: Any) -> str:
    """How TIMESTAMPs are written: query strings spell ``formatOptions.useInt64Timestamp``, bodies nest it."""
    nested = options.get("formatOptions") or {}
    output = options.get("formatOptions.timestampOutputFormat") or nested.get("timestampOutputFormat")
    if output in {"INT64", "FLOAT64", "ISO8601_STRING"}:
        return str(output)
    flag = options.get("formatOptions.useInt64Timestamp") or nested.get("useInt64Timestamp")
    return "INT64" if str(flag).lower() == "true" else "FLOAT64"


def _dataset_json(resource: Resource) -> Resource:
    reference = resource["datasetReference"]
    resource = {
        "kind": "bigquery#dataset",
        "id": f"{reference['projectId']}:{reference['datasetId']}",
        "selfLink": f"/bigquery/v2/projects/{reference['projectId']}/datasets/{reference['datasetId']}",
        **resource,
    }
    return resource | {"etag": etag(resource)}


def _check_etag(request: web.Request, current: str) -> None:
    wanted = request.headers.get("If-Match")
    if wanted and wanted.strip('"') not in {"*", current}:
        raise BigQueryError("conditionNotMet", "Precondition Failed: the resource has changed since its etag was read")


def _patched(old: Resource, body: Resource, keep: set[str], *, replace: bool) -> Resource:
    """A resource after a patch (null removes a property; labels are merged) or after an update (what is not named is
    removed).
    """
    result = {key: value for key, value in old.items() if not replace or key in keep}
    for key, value in body.items():
        if key in _READ_ONLY or key in {
            "creationTime",
            "lastModifiedTime",
            "tableReference",
            "datasetReference",
            "location",
        }:
            continue
        if value is None:
            result.pop(key, None)
        elif key == "labels" and not replace:
            merged = {**result.get("labels", {}), **value}
            result["labels"] = {k: v for k, v in merged.items() if v is not None}
        else:
            result[key] = value
    return result


def _check_schema_change(table: Table, fields: list[Field]) -> None:
    """Refuse what BigQuery refuses of a new schema: fields that go, change type or become stricter."""
    updates = frozenset({writes.ADDITION, writes.RELAXATION})
    writes.merged_schema(table.ref, table.fields, fields, updates)
    _check_kept(table.ref, table.fields, fields, "")


def _check_kept(ref: TableRef, old: list[Field], new: list[Field], where: str) -> None:
    given = {field["name"].lower(): field for field in new}
    for field in old:
        after = given.get(field["name"].lower())
        if after is None:
            raise invalid(
                f"Provided Schema does not match Table {ref}. Field {where}{field['name']} is missing in new schema"
            )
        if after["mode"] == "REQUIRED" and field["mode"] != "REQUIRED":
            raise invalid(
                f"Provided Schema does not match Table {ref}. "
                f"Field {where}{field['name']} has changed mode from {field['mode']} to REQUIRED"
            )
        if field["type"] == "RECORD":
            _check_kept(ref, field["fields"], after["fields"], f"{where}{field['name']}.")
