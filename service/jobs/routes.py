"""/api/v1/jobs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import PlainTextResponse

from core.errors import Fault, InvalidQuery
from core.jobspec import JobSpec
from core.repositories.epochs import epoch_values
from core.repositories.events import log_lines
from core.repositories.jobs import JobFilter, get_job, list_jobs, queue_positions
from core.repositories.pages import Position
from core.states import State
from service.context import ContextDep, JsonBodyDep, RequestIdDep, TenantDep
from service.documentation import body_schema
from service.jobs.reading import read_job as read_job_now
from service.jobs.schemas import (
    EpochList,
    JobOrder,
    JobPage,
    JobView,
    ValidationView,
    view_job,
)
from service.jobs.submission import submit_job, validate_only
from service.paging import DEFAULT_PAGE_SIZE, decode_token, encode_token, page_limit
from service.watching import answer_watch

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

MAX_KEY_LENGTH = 255


@router.post(
    "",
    status_code=201,
    response_model=None,
    openapi_extra=body_schema(JobSpec),
    responses={201: {"model": JobView}, 200: {"model": ValidationView}},
)
def post_job(
    body: JsonBodyDep,
    response: Response,
    context: ContextDep,
    tenant: TenantDep,
    request_id: RequestIdDep,
    idempotency_key: Annotated[str | None, Header()] = None,
    validate_only_: Annotated[bool, Query(alias="validate_only")] = False,
) -> Any:
    """Submits a training job. With `validate_only=true` it is checked and described, and nothing is created."""
    if validate_only_:
        response.status_code = 200
        return validate_only(context, tenant, body)
    submission = submit_job(context, tenant, body, checked_key(idempotency_key), request_id)
    response.headers["Location"] = f"/api/v1/jobs/{submission.id}"
    response.headers["ETag"] = submission.answer["etag"]
    if submission.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return submission.answer


@router.get("")
def get_jobs(
    context: ContextDep,
    tenant: TenantDep,
    state: State | None = None,
    architecture: str | None = None,
    dataset: str | None = None,
    study: Annotated[str | None, Query(description="a study's id: the jobs of its runs")] = None,
    tag: Annotated[str | None, Query(description="a tag's key, or key=value")] = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
    order_by: JobOrder = "-created_at",
) -> JobPage:
    """Lists jobs, newest first unless `order_by=created_at`."""
    limit = page_limit(page_size)
    after = decode_token(page_token) if page_token else None
    only = JobFilter(state, architecture, dataset, study, _parse_tag(tag))
    with context.database.snapshot() as session:
        rows = list_jobs(session, tenant, only, limit=limit + 1, after=after, descending=order_by.startswith("-"))
        positions = queue_positions(session, rows[:limit])
        items = [view_job(row, positions.get(row.id)) for row in rows[:limit]]
    more = len(rows) > limit
    last = rows[limit - 1] if more else None
    return JobPage(items=items, next_page_token=encode_token(Position(last.created_at, last.id)) if last else None)


@router.get("/{job_id}", response_model=JobView, responses={304: {"description": "not changed"}})
async def read_job(
    job_id: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=30` waits until the job changes")] = None,
) -> Response:
    """Reads a job; with `Prefer: wait=N`, once it has changed from the ETag in If-None-Match or from now."""
    return await answer_watch(partial(read_job_now, context, tenant, job_id), if_none_match, prefer, context.stopping)


@router.get("/{job_id}/epochs", response_model=EpochList)
def get_epochs(
    job_id: str, context: ContextDep, tenant: TenantDep, after: Annotated[int, Query(ge=0, lt=2**31)] = 0
) -> Response:
    """The history: every finished epoch, or those after number `after`."""
    with context.database.snapshot() as session:
        get_job(session, tenant, job_id)
        items = epoch_values(session, tenant, job_id, after)
    return Response(orjson.dumps({"items": items}), media_type="application/json")


@router.get("/{job_id}/logs", response_class=PlainTextResponse)
def get_logs(job_id: str, context: ContextDep, tenant: TenantDep) -> str:
    """What the trainers printed, oldest first, bounded for each attempt."""
    with context.database.snapshot() as session:
        get_job(session, tenant, job_id)
        lines = log_lines(session, tenant, job_id)
    parts, shown = [], 0
    for attempt, text in lines:
        if attempt != shown:
            parts.append(f"--- attempt {attempt} ---\n")
            shown = attempt
        parts.append(text)
    return "".join(parts)


def checked_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not key.strip() or len(key) > MAX_KEY_LENGTH:
        detail = f"must have 1 to {MAX_KEY_LENGTH} characters"
        raise InvalidQuery("a header has a fault", [Fault("/header/idempotency-key", detail)])
    return key


def _parse_tag(tag: str | None) -> tuple[str, str | None] | None:
    if tag is None:
        return None
    key, equals, value = tag.partition("=")
    return key, value if equals else None
