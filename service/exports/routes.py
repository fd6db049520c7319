"""/api/v1/models/{name}/versions/{n}/artifact and /api/v1/exports."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from core.errors import ExportRefused
from core.repositories.donors import has_weights
from core.repositories.models import ServableVersion, get_version
from core.repositories.tasks import NewTask, TaskKind, create_task, find_by_key, get_task, result_files, retry_task
from core.states import TaskState
from core.tables import TaskRow
from service.context import Context, ContextDep, RequestIdDep, TenantDep
from service.downloads import Download, answer_download
from service.exports.schemas import ENDINGS, MADE_FORMATS, ExportView, FormatName, view_export
from service.watching import POLL_SECONDS, answer_watch, wait_preference

router = APIRouter(prefix="/api/v1", tags=["models"])

log = structlog.get_logger("kerasd.api")

KIND: TaskKind = "export"
LAST_VERSION = 2**31 - 1
RETRY_AFTER_SECONDS = 2
FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}},
    202: {"model": ExportView},
    304: {"description": "not changed"},
}


@router.get("/models/{name}/versions/{version}/artifact", response_class=Response, responses=FILE)
async def get_artifact(
    name: str,
    version: Annotated[int, Path(ge=1, le=LAST_VERSION)],
    context: ContextDep,
    tenant: TenantDep,
    request_id: RequestIdDep,
    format_: Annotated[FormatName, Query(alias="format", description="litert is another name of tflite")] = "onnx",
    retry: Annotated[bool, Query(description="make anew what was refused, or is damaged by now")] = False,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=30` waits until the file is made")] = None,
) -> Response:
    """Downloads a version: at once as ONNX; in other formats a worker makes the file at the first request and keeps it.

    202 with the export while it is made, 409 `export_refused` where it was refused.
    """
    if format_ == "onnx":
        servable = await run_in_threadpool(_servable, context, tenant, name, version)
        artifact = servable.artifact
        download = Download(artifact.path, artifact.sha256, artifact.bytes, f"{name}-{version}.onnx")
        return await run_in_threadpool(answer_download, context.store, download, if_none_match)
    made = MADE_FORMATS[format_]
    row = await run_in_threadpool(_wanted, context, tenant, name, version, made, request_id, retry=retry)
    row = await _ended(context, tenant, row, wait_preference(prefer))
    if row.state == TaskState.SUCCEEDED:
        (file,) = result_files(row)
        download = Download(**file, filename=f"{name}-{version}.{ENDINGS[made]}")
        return await run_in_threadpool(answer_download, context.store, download, if_none_match)
    if row.state == TaskState.FAILED:
        raise ExportRefused(
            f"version {version} of {name} cannot be had as {made}: {row.detail}; retry=true tries again"
        )
    headers = {"Location": f"/api/v1/exports/{row.id}", "Retry-After": str(RETRY_AFTER_SECONDS)}
    return JSONResponse(view_export(row).model_dump(mode="json"), 202, headers)


@router.get("/exports/{export_id}", response_model=ExportView, responses={304: {"description": "not changed"}})
async def read_export(
    export_id: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=30` waits until the export changes")] = None,
) -> Response:
    """Reads an export: how far it is, or what was measured when it was checked."""
    return await answer_watch(partial(_view, context, tenant, export_id), if_none_match, prefer, context.stopping)


def _servable(context: Context, tenant: str, name: str, version: int) -> ServableVersion:
    """Raises ModelNotFound."""
    with context.database.snapshot() as session:
        return get_version(session, tenant, name, version)


def _wanted(
    context: Context, tenant: str, name: str, version: int, made: str, request_id: str, *, retry: bool
) -> TaskRow:
    """The export, created where there is none. Raises ModelNotFound, ExportRefused."""
    key = f"{name}:{version}:{made}"
    with context.database.snapshot() as session:
        row = find_by_key(session, tenant, KIND, key)
    if row is not None and not (retry and _is_useless(context, row)):
        return row
    with context.database.transaction() as session:
        job = get_version(session, tenant, name, version).row.job_id
        if not has_weights(session, tenant, job):
            raise ExportRefused(
                f"version {version} of {name} was published before weights were kept; train it again to export it"
            )
        spec = {"model": name, "version": version, "format": made}
        row = create_task(session, tenant, NewTask(KIND, spec, key), request_id)
        if retry:
            row = retry_task(session, tenant, KIND, row.id)
    if not context.wakeups.send(row.id):
        log.warning("the broker took no wake-up; a worker will find the export by itself", export=row.id)
    return row


def _is_useless(context: Context, row: TaskRow) -> bool:
    """Whether the export was refused, or what it made is not in the store as it was recorded."""
    damaged = any(not context.store.matches(file["path"], file["sha256"]) for file in result_files(row))
    return row.state == TaskState.FAILED or damaged


async def _ended(context: Context, tenant: str, row: TaskRow, seconds: float) -> TaskRow:
    """The export once it has ended, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not TaskState(row.state).terminal and time.monotonic() < deadline and not context.stopping.is_set():
        await asyncio.sleep(POLL_SECONDS)
        row = await run_in_threadpool(_read, context, tenant, row.id)
    return row


def _read(context: Context, tenant: str, export_id: str) -> TaskRow:
    with context.database.snapshot() as session:
        return get_task(session, tenant, KIND, export_id)


def _view(context: Context, tenant: str, export_id: str) -> ExportView:
    return view_export(_read(context, tenant, export_id))
