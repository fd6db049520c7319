"""What a job shows for itself: events, evaluation, curves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from core.errors import EvaluationNotFound
from core.repositories.epochs import list_epochs
from core.repositories.jobs import get_job
from core.repositories.models import get_evaluation
from service.context import Context, ContextDep, TenantDep
from service.drawing import PICTURE_TYPES, PictureKind
from service.jobs.curves import curves_csv, draw_curves
from service.jobs.reading import read_job, read_moment
from service.watching import LINGER_SECONDS, ResumeDep, stream_events

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


def known_job(job_id: str, context: ContextDep, tenant: TenantDep) -> None:
    """Looked for before a stream starts, while an error can still be answered. Raises JobNotFound."""
    read_job(context, tenant, job_id)


@router.get("/{job_id}/events", response_class=EventSourceResponse, dependencies=[Depends(known_job)])
async def get_events(
    job_id: str, context: ContextDep, tenant: TenantDep, after: ResumeDep
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: state, epoch, log, warning and checkpoint with ids, progress without.

    Resumes by Last-Event-ID.
    """
    read = partial(read_moment, context, tenant, job_id)
    async for event in stream_events(read, after, context.stopping, LINGER_SECONDS):
        yield event


@router.get("/{job_id}/evaluation")
def get_job_evaluation(job_id: str, context: ContextDep, tenant: TenantDep) -> dict[str, Any]:
    """Test metrics of the published weights, per-class figures, confusion matrix (rows: truth)."""
    with context.database.snapshot() as session:
        job = get_job(session, tenant, job_id)
        row = get_evaluation(session, tenant, job_id)
    if row is None:
        raise EvaluationNotFound(f"job {job_id} is {job.state} and has no evaluation")
    return row.data


@router.get("/{job_id}/curves.csv", response_class=PlainTextResponse)
def get_curves_csv(job_id: str, context: ContextDep, tenant: TenantDep) -> Response:
    """The history as CSV."""
    with context.database.snapshot() as session:
        get_job(session, tenant, job_id)
        text = curves_csv(list_epochs(session, tenant, job_id))
    return Response(text, media_type="text/csv; charset=utf-8")


@router.get("/{job_id}/curves.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def get_curves_png(job_id: str, context: ContextDep, tenant: TenantDep) -> Response:
    """Accuracy and loss: training solid, validation dashed."""
    return _picture(job_id, context, tenant, "png")


@router.get("/{job_id}/curves.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
def get_curves_svg(job_id: str, context: ContextDep, tenant: TenantDep) -> Response:
    """Accuracy and loss: training solid, validation dashed."""
    return _picture(job_id, context, tenant, "svg")


def _picture(job_id: str, context: Context, tenant: str, kind: PictureKind) -> Response:
    with context.database.snapshot() as session:
        job = get_job(session, tenant, job_id)
        epochs = list_epochs(session, tenant, job_id)
    return Response(
        draw_curves(job, epochs, kind), media_type=PICTURE_TYPES[kind], headers={"Cache-Control": "no-cache"}
    )
