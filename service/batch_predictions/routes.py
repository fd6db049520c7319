"""/api/v1/batch-predictions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

import structlog
import uuid_utils
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.requests import ClientDisconnect

from core.errors import ResultsNotReady
from core.repositories.pages import Position
from core.repositories.tasks import cancel_task, delete_task, get_task, list_tasks, result_files, upload_folder
from core.states import TaskState
from core.tables import TaskRow
from service.batch_predictions.schemas import (
    MEDIA_TYPES,
    BatchForm,
    BatchOrder,
    BatchPage,
    BatchRequest,
    BatchView,
    view_batch,
)
from service.batch_predictions.submission import KIND, submit_stored, submit_upload
from service.context import Context, ContextDep, RequestIdDep, TenantDep, read_json
from service.datasets.receiving import receive_upload
from service.documentation import body_schema
from service.downloads import Download, answer_download
from service.paging import DEFAULT_PAGE_SIZE, decode_token, encode_token, page_limit
from service.task_views import read_moment
from service.watching import ResumeDep, answer_watch, stream_events

router = APIRouter(prefix="/api/v1/batch-predictions", tags=["predictions"])

log = structlog.get_logger("kerasd.api")

CLIENT_CLOSED = 499

FORM: dict[str, Any] = BatchForm.model_json_schema()
BODY: dict[str, Any] = body_schema(BatchRequest)
BODY["requestBody"]["content"]["multipart/form-data"] = {
    "schema": {
        "type": "object",
        "required": ["model", "file"],
        "properties": {
            **FORM["properties"],
            "file": {
                "description": "zip or tar archive (.gz, .bz2, .xz too) of PNG, JPEG or WebP images in any folders",
                "type": "string",
                "format": "binary",
            },
        },
    }
}
RESULTS: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}}


@router.post("", status_code=202, response_model=None, openapi_extra=BODY, responses={202: {"model": BatchView}})
async def post_batch(
    request: Request,
    context: ContextDep,
    tenant: TenantDep,
    request_id: RequestIdDep,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Asks for predictions for a whole stored dataset (JSON), or for an archive of images (multipart/form-data).

    Images that cannot be read become rows with an error. A request repeated with its Idempotency-Key gets what the first
    one made, for as long as that is not deleted.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
        try:
            row = await _submit_upload(request, context, tenant, idempotency_key, request_id)
        except ClientDisconnect:
            log.info("a client left during an upload")
            return Response(status_code=CLIENT_CLOSED)
    else:
        body = await read_json(request, context)
        row = await run_in_threadpool(submit_stored, context, tenant, body, idempotency_key, request_id)
    view = view_batch(row)
    headers = {"Location": f"/api/v1/batch-predictions/{row.id}", "ETag": view.etag}
    return JSONResponse(view.model_dump(mode="json"), 202, headers)


@router.get("")
def get_batches(
    context: ContextDep,
    tenant: TenantDep,
    state: TaskState | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
    order_by: BatchOrder = "-created_at",
) -> BatchPage:
    """Lists batch predictions, newest first unless `order_by=created_at`."""
    limit = page_limit(page_size)
    after = decode_token(page_token) if page_token else None
    descending = order_by.startswith("-")
    with context.database.snapshot() as session:
        rows = list_tasks(session, tenant, KIND, state, limit=limit + 1, after=after, descending=descending)
    last = rows[limit - 1] if len(rows) > limit else None
    token = encode_token(Position(last.created_at, last.id)) if last else None
    return BatchPage(items=[view_batch(row) for row in rows[:limit]], next_page_token=token)


@router.get("/{batch_id}", response_model=BatchView, responses={304: {"description": "not changed"}})
async def read_batch(
    batch_id: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=30` waits until it changes")] = None,
) -> Response:
    """Reads a batch prediction: how far it is, and its figures once it has succeeded."""
    return await answer_watch(partial(_view, context, tenant, batch_id), if_none_match, prefer, context.stopping)


def known_batch(batch_id: str, context: ContextDep, tenant: TenantDep) -> None:
    """Looked for before a stream starts, while an error can still be answered. Raises TaskNotFound."""
    _read(context, tenant, batch_id)


@router.get("/{batch_id}/events", response_class=EventSourceResponse, dependencies=[Depends(known_batch)])
async def get_batch_events(
    batch_id: str, context: ContextDep, tenant: TenantDep, after: ResumeDep
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: state with ids, progress without. Resumes by Last-Event-ID; ends with the batch prediction."""
    read = partial(read_moment, context, tenant, KIND, batch_id)
    async for event in stream_events(read, after, context.stopping):
        yield event


@router.get("/{batch_id}/results", response_class=Response, responses=RESULTS)
def get_results(
    batch_id: str, context: ContextDep, tenant: TenantDep, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Downloads the rows, one for each image, in the source's order. 409 `results_not_ready` before it has succeeded."""
    row = _read(context, tenant, batch_id)
    if row.state != TaskState.SUCCEEDED:
        reason = f": {row.detail}" if row.detail else ""
        raise ResultsNotReady(f"batch prediction {batch_id} is {row.state}{reason}")
    (file,) = result_files(row)
    kind = row.spec["format"]
    download = Download(**file, filename=f"{row.spec['model']}-{row.id}.{kind}", media_type=MEDIA_TYPES[kind])
    return answer_download(context.store, download, if_none_match)


@router.post("/{batch_id}:cancel")
def post_cancel(batch_id: str, context: ContextDep, tenant: TenantDep) -> BatchView:
    """Cancels a batch prediction that has not ended. Cancelling twice is harmless."""
    with context.database.transaction() as session:
        return view_batch(cancel_task(session, tenant, KIND, batch_id))


@router.delete("/{batch_id}", status_code=204)
def remove_batch(batch_id: str, context: ContextDep, tenant: TenantDep) -> None:
    """Deletes a batch prediction and its results; one that has not ended is stopped."""
    with context.database.transaction() as session:
        unused = delete_task(session, tenant, KIND, batch_id)
    for folder in unused:
        context.store.discard(folder)


async def _submit_upload(request: Request, context: Context, tenant: str, key: str | None, request_id: str) -> TaskRow:
    task_id = uuid_utils.uuid7().hex
    folder = upload_folder(task_id)
    upload = await receive_upload(request, context.store, folder, context.settings.max_upload_bytes)
    try:
        row = await run_in_threadpool(submit_upload, context, tenant, task_id, upload, key, request_id)
    except BaseException:
        await run_in_threadpool(context.store.delete, folder)
        raise
    if row.id != task_id:
        await run_in_threadpool(context.store.delete, folder)
    return row


def _read(context: Context, tenant: str, batch_id: str) -> TaskRow:
    with context.database.snapshot() as session:
        return get_task(session, tenant, KIND, batch_id)


def _view(context: Context, tenant: str, batch_id: str) -> BatchView:
    return view_batch(_read(context, tenant, batch_id))
