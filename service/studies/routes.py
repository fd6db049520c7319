"""/api/v1/studies: submit, read, list, move."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from core.repositories.pages import Position
from core.repositories.studies import cancel_study, get_study, list_studies, pause_study, resume_study
from core.repositories.study_runs import list_runs
from core.states import RunState, State, StudyState
from core.studyspec import StudySpec
from core.tables import StudyRow
from service.context import Context, ContextDep, JsonBodyDep, RequestIdDep, TenantDep
from service.documentation import body_schema
from service.jobs.routes import checked_key
from service.paging import (
    DEFAULT_PAGE_SIZE,
    decode_number,
    decode_token,
    encode_number,
    encode_token,
    page_limit,
)
from service.studies.extension import extend
from service.studies.reading import read_moment, read_study
from service.studies.schemas import (
    ExtendRequest,
    RunPage,
    RunView,
    StudyOrder,
    StudyPage,
    StudyValidationView,
    StudyView,
    view_study,
)
from service.studies.submission import submit_study, validate_study, wake_workers
from service.watching import ResumeDep, answer_watch, stream_events

router = APIRouter(prefix="/api/v1/studies", tags=["studies"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    openapi_extra=body_schema(StudySpec),
    responses={201: {"model": StudyView}, 200: {"model": StudyValidationView}},
)
def post_study(
    body: JsonBodyDep,
    response: Response,
    context: ContextDep,
    tenant: TenantDep,
    request_id: RequestIdDep,
    idempotency_key: Annotated[str | None, Header()] = None,
    validate_only: bool = False,
) -> Any:
    """Submits a study: many jobs from one base spec. Every job spec in it is checked first, and nothing starts where one is wrong.

    With `validate_only=true` it is checked and described, and nothing is created.
    """
    if validate_only:
        response.status_code = 200
        return validate_study(context, tenant, body)
    submission = submit_study(context, tenant, body, checked_key(idempotency_key), request_id)
    response.headers["Location"] = f"/api/v1/studies/{submission.id}"
    response.headers["ETag"] = submission.answer["etag"]
    if submission.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return submission.answer


@router.get("")
def get_studies(
    context: ContextDep,
    tenant: TenantDep,
    state: StudyState | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
    order_by: StudyOrder = "-created_at",
) -> StudyPage:
    """Lists studies, newest first unless `order_by=created_at`."""
    limit = page_limit(page_size)
    after = decode_token(page_token) if page_token else None
    with context.database.snapshot() as session:
        rows = list_studies(session, tenant, state, limit=limit + 1, after=after, descending=order_by.startswith("-"))
    last = rows[limit - 1] if len(rows) > limit else None
    token = encode_token(Position(last.created_at, last.id)) if last else None
    return StudyPage(items=[view_study(row) for row in rows[:limit]], next_page_token=token)


@router.get("/{study_id}", response_model=StudyView, responses={304: {"description": "not changed"}})
async def get_one(
    study_id: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=30` waits until the study changes")] = None,
) -> Response:
    """Reads a study; with `Prefer: wait=N`, once it has changed from the ETag in If-None-Match or from now."""
    read = partial(read_study, context, tenant, study_id)
    return await answer_watch(read, if_none_match, prefer, context.stopping)


def known_study(study_id: str, context: ContextDep, tenant: TenantDep) -> None:
    """Looked for before a stream starts, while an error can still be answered. Raises StudyNotFound."""
    read_study(context, tenant, study_id)


@router.get("/{study_id}/events", response_class=EventSourceResponse, dependencies=[Depends(known_study)])
async def get_events(
    study_id: str, context: ContextDep, tenant: TenantDep, after: ResumeDep
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: state and run with ids, progress without. Resumes by Last-Event-ID; ends with the study."""
    read = partial(read_moment, context, tenant, study_id)
    async for event in stream_events(read, after, context.stopping):
        yield event


@router.get("/{study_id}/runs")
def get_runs(
    study_id: str,
    context: ContextDep,
    tenant: TenantDep,
    state: Annotated[State | RunState | None, Query(description="the job's; WAITING or SKIPPED without one")] = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
) -> RunPage:
    """Lists the runs in the order in which they start: every variant's first seed, then every second."""
    limit = page_limit(page_size)
    after = decode_number(page_token) if page_token else -1
    with context.database.snapshot() as session:
        study = get_study(session, tenant, study_id)
        rows = list_runs(session, study, state, limit=limit + 1, after=after)
        items = [
            RunView(
                variant=run.variant,
                name=variant.name,
                architecture=variant.architecture,
                seed=run.seed,
                job=run.job_id,
                state=State(job.state) if job else RunState.SKIPPED if run.detail else RunState.WAITING,
                reason=job.reason if job else None,
                detail=job.detail if job else run.detail,
                reused=run.reused,
                progress=job.progress if job else None,
                best_epoch=job.best_epoch if job else None,
            )
            for run, variant, job in rows[:limit]
        ]
        token = encode_number(rows[limit - 1][0].turn) if len(rows) > limit else None
    return RunPage(items=items, next_page_token=token)


@router.post("/{study_id}:pause")
def post_pause(study_id: str, context: ContextDep, tenant: TenantDep) -> StudyView:
    """Starts nothing more, and pauses the study's jobs after their epochs."""
    return _moved(context, study_id, lambda session: pause_study(session, tenant, study_id))


@router.post("/{study_id}:resume")
def post_resume(study_id: str, context: ContextDep, tenant: TenantDep) -> StudyView:
    """Goes on where a pause stopped the study."""
    return _moved(context, study_id, lambda session: resume_study(session, tenant, study_id))


@router.post("/{study_id}:cancel")
def post_cancel(study_id: str, context: ContextDep, tenant: TenantDep) -> StudyView:
    """Ends the study and cancels those of its jobs that have not ended; cancelling twice is harmless."""
    return _moved(context, study_id, lambda session: cancel_study(session, tenant, study_id))


@router.post("/{study_id}:extend", openapi_extra=body_schema(ExtendRequest))
def post_extend(study_id: str, body: JsonBodyDep, context: ContextDep, tenant: TenantDep) -> StudyView:
    """Adds seeds, values, variants or trials; what the study has stays, and one that had ended goes on."""
    return extend(context, tenant, study_id, body.parsed(ExtendRequest))


def _moved(context: Context, study_id: str, move: Callable[[Session], StudyRow]) -> StudyView:
    with context.database.transaction() as session:
        view = view_study(move(session))
    wake_workers(context, study_id)
    return view
