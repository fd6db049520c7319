"""/api/v1/datasets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from io import BytesIO
from typing import Annotated, Any

import structlog
import uuid_utils
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from PIL import Image
from starlette.requests import ClientDisconnect

from core.dataset_content import Split
from core.dataset_images import read_image
from core.repositories.datasets import delete_dataset, get_dataset, get_stored, list_datasets
from core.repositories.events import dataset_events_after
from core.repositories.pages import Position
from core.states import DatasetState
from core.tables import utc_now
from service.context import Context, ContextDep, RequestIdDep, TenantDep, read_json
from service.datasets.documentation import UPLOAD_BODY
from service.datasets.receiving import receive_upload
from service.datasets.registration import Registered, await_verdict, register_builtin, register_upload
from service.datasets.schemas import DatasetOrder, DatasetPage, DatasetView, view_dataset
from service.paging import DEFAULT_PAGE_SIZE, decode_token, encode_token, page_limit
from service.watching import EVENTS_A_READ, Moment, ResumeDep, answer_watch, stream_events

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"])

log = structlog.get_logger("kerasd.api")

CLIENT_CLOSED = 499
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}


@router.post(
    "",
    status_code=202,
    response_model=None,
    openapi_extra=UPLOAD_BODY,
    responses={202: {"model": DatasetView}, 200: {"model": DatasetView}},
)
async def post_dataset(request: Request, context: ContextDep, tenant: TenantDep, request_id: RequestIdDep) -> Response:
    """Registers a dataset: multipart/form-data with `name` and `file`, or JSON with `builtin`.

    202 while it is imported, 200 when the same files are there under this name already. Files whose structure is refused
    within a few seconds get a 422 at once; what is found later stands on the dataset, as REJECTED.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
        try:
            registered = await _register_upload(request, context, tenant, request_id)
        except ClientDisconnect:
            log.info("a client left during an upload")
            return Response(status_code=CLIENT_CLOSED)
    else:
        body = await read_json(request, context)
        registered = await run_in_threadpool(register_builtin, context, tenant, body.value, request_id)
    row = await await_verdict(context, tenant, registered)
    view = view_dataset(row)
    headers = {"Location": f"/api/v1/datasets/{row.name}", "ETag": view.etag}
    return JSONResponse(view.model_dump(mode="json"), 202 if registered.created else 200, headers)


@router.get("")
def get_datasets(
    context: ContextDep,
    tenant: TenantDep,
    state: DatasetState | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
    order_by: DatasetOrder = "-created_at",
) -> DatasetPage:
    """Lists datasets, newest first unless `order_by=created_at`."""
    limit = page_limit(page_size)
    after = decode_token(page_token) if page_token else None
    with context.database.snapshot() as session:
        rows = list_datasets(session, tenant, state, limit=limit + 1, after=after, descending=order_by.startswith("-"))
    last = rows[limit - 1] if len(rows) > limit else None
    token = encode_token(Position(last.created_at, last.id)) if last else None
    return DatasetPage(items=[view_dataset(row) for row in rows[:limit]], next_page_token=token)


@router.get("/{name}", response_model=DatasetView, responses={304: {"description": "not changed"}})
async def read_dataset(
    name: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=30` waits until the dataset changes")] = None,
) -> Response:
    """Reads a dataset: its progress while it is imported, then its classes, figures and the data gate's report."""
    return await answer_watch(partial(_read, context, tenant, name), if_none_match, prefer, context.stopping)


@router.delete("/{name}", status_code=204)
def remove_dataset(name: str, context: ContextDep, tenant: TenantDep) -> None:
    """Deletes a dataset, or stops its import. Refused while a job that has not ended needs it; models stay."""
    with context.database.transaction() as session:
        unused = delete_dataset(session, tenant, name)
    for folder in unused:
        context.store.discard(folder)


def known_dataset(name: str, context: ContextDep, tenant: TenantDep) -> None:
    """Looked for before a stream starts, while an error can still be answered. Raises DatasetNotFound."""
    _read(context, tenant, name)


@router.get("/{name}/events", response_class=EventSourceResponse, dependencies=[Depends(known_dataset)])
async def get_dataset_events(
    name: str, context: ContextDep, tenant: TenantDep, after: ResumeDep
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: state with ids, progress without. Resumes by Last-Event-ID; ends with the import."""
    async for event in stream_events(partial(_read_moment, context, tenant, name), after, context.stopping):
        yield event


@router.get("/{name}/images/{split}/{index}", response_class=Response, responses=PNG)
def get_image(
    name: str,
    split: Split,
    index: Annotated[int, Path(ge=0, lt=2**31)],
    context: ContextDep,
    tenant: TenantDep,
) -> Response:
    """One image as it is stored, as PNG; `index` counts from 0 in the dataset's order."""
    with context.database.snapshot() as session:
        dataset = get_stored(session, tenant, name)
    pixels = read_image(context.store, dataset, split, index)
    picture = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(picture, "PNG")
    # Datasets never change, but their names may be used again.
    headers = {"ETag": f'"{dataset.digest[:16]}.{split}.{index}"', "Cache-Control": "no-cache"}
    return Response(picture.getvalue(), media_type="image/png", headers=headers)


@router.get("/{name}/contact-sheet.png", response_class=Response, responses=PNG)
def get_contact_sheet(name: str, context: ContextDep, tenant: TenantDep) -> Response:
    """Samples of every class in one picture."""
    with context.database.snapshot() as session:
        dataset = get_stored(session, tenant, name)
    sheet = dataset.content.contact_sheet
    content = context.store.get(f"{dataset.path}/{sheet.name}", sheet.sha256)
    return Response(content, media_type="image/png", headers={"Cache-Control": "no-cache"})


async def _register_upload(request: Request, context: Context, tenant: str, request_id: str) -> Registered:
    began, dataset_id = utc_now(), uuid_utils.uuid7().hex
    folder = f"uploads/{dataset_id}"
    upload = await receive_upload(request, context.store, folder, context.settings.max_upload_bytes)
    try:
        registered = await run_in_threadpool(register_upload, context, tenant, dataset_id, upload, began, request_id)
    except BaseException:
        await run_in_threadpool(context.store.delete, folder)
        raise
    if not registered.created:
        await run_in_threadpool(context.store.delete, folder)
    return registered


def _read(context: Context, tenant: str, name: str) -> DatasetView:
    with context.database.snapshot() as session:
        return view_dataset(get_dataset(session, tenant, name))


def _read_moment(context: Context, tenant: str, name: str, after: int) -> Moment:
    with context.database.snapshot() as session:
        row = get_dataset(session, tenant, name)
        events = dataset_events_after(session, tenant, row.id, after, EVENTS_A_READ)
        return Moment(row.progress, DatasetState(row.state).terminal, events)
