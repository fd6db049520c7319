"""One job as its watchers read it."""

from __future__ import annotations

from core.repositories.events import events_after
from core.repositories.jobs import get_job, queue_position
from core.states import State
from service.context import Context
from service.jobs.schemas import JobView, view_job
from service.watching import EVENTS_A_READ, Moment


def read_job(context: Context, tenant: str, job_id: str) -> JobView:
    """Raises JobNotFound."""
    with context.database.snapshot() as session:
        row = get_job(session, tenant, job_id)
        return view_job(row, queue_position(session, row))


def read_moment(context: Context, tenant: str, job_id: str, after: int) -> Moment:
    """Raises JobNotFound."""
    with context.database.snapshot() as session:
        # The job first: an event that comes between the two reads is then seen now or at the next turn, never lost.
        row = get_job(session, tenant, job_id)
        events = events_after(session, tenant, job_id, after, EVENTS_A_READ)
        return Moment(row.progress, State(row.state).terminal, events)
