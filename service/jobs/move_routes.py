"""What may be asked of a job: :cancel, :pause, :resume, :retry."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from sqlalchemy.orm import Session

from core.repositories.jobs import queue_position
from core.repositories.moves import request_cancel, request_pause, request_resume, request_retry
from core.tables import JobRow
from service.context import Context, ContextDep, JsonBodyDep, TenantDep
from service.documentation import body_schema
from service.jobs.schemas import CancelRequest, JobView, RetryRequest, view_job

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


@router.post("/{job_id}:cancel", openapi_extra=body_schema(CancelRequest, required=False))
def cancel_job(job_id: str, body: JsonBodyDep, context: ContextDep, tenant: TenantDep) -> JobView:
    """Cancels a job that has not ended; cancelling twice is harmless."""
    keep_best = body.parsed(CancelRequest).keep_best
    return _moved(context, job_id, lambda session: request_cancel(session, tenant, job_id, keep_best=keep_best))


@router.post("/{job_id}:pause")
def pause_job(job_id: str, context: ContextDep, tenant: TenantDep) -> JobView:
    """Pauses a job: at once while it waits, after its present epoch while it runs. Its device is free then."""
    return _moved(context, job_id, lambda session: request_pause(session, tenant, job_id))


@router.post("/{job_id}:resume")
def resume_job(job_id: str, context: ContextDep, tenant: TenantDep) -> JobView:
    """Queues a paused job again; it goes on from its checkpoint."""
    return _moved(context, job_id, lambda session: request_resume(session, tenant, job_id))


@router.post("/{job_id}:retry", openapi_extra=body_schema(RetryRequest, required=False))
def retry_job(job_id: str, body: JsonBodyDep, context: ContextDep, tenant: TenantDep) -> JobView:
    """Queues a job that failed or was cancelled again, from its checkpoint or from scratch."""
    start = body.parsed(RetryRequest).from_
    return _moved(context, job_id, lambda session: request_retry(session, tenant, job_id, start))


def _moved(context: Context, job_id: str, move: Callable[[Session], JobRow]) -> JobView:
    with context.database.transaction() as session:
        row = move(session)
        view = view_job(row, queue_position(session, row))
    context.wakeups.send(job_id, row.queue)
    return view
