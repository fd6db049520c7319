"""Waiting for a job to change, and its events as a stream that can be resumed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent

from core.errors import Fault, InvalidQuery
from core.repositories.events import events_after
from core.repositories.jobs import get_job, queue_position
from core.states import State
from core.tables import EventRow, JobRow
from service.context import Context
from service.jobs.schemas import JobView, view_job

POLL_SECONDS = 0.2
LINGER_SECONDS = 1.0
"""A trainer's last log lines come a moment after the job's end."""
MAX_WAIT_SECONDS = 60.0
EVENTS_A_READ = 500

_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")


def wait_preference(prefer: str | None) -> float:
    """Seconds of `Prefer: wait=N` (RFC 7240), at most MAX_WAIT_SECONDS; 0 without one."""
    match = _WAIT.search(prefer or "")
    return min(float(match.group(1)), MAX_WAIT_SECONDS) if match else 0.0


def read_job(context: Context, tenant: str, job_id: str) -> JobView:
    """Raises JobNotFound."""
    with context.database.snapshot() as session:
        row = get_job(session, tenant, job_id)
        return view_job(row, queue_position(session, row))


async def wait_for_change(context: Context, tenant: str, job_id: str, known: str | None, seconds: float) -> JobView:
    """The job once its ETag differs from `known` (by default its present one), it has ended, or time is up."""
    deadline = time.monotonic() + seconds
    view = await run_in_threadpool(read_job, context, tenant, job_id)
    known = known or view.etag
    while view.etag == known and not view.state.terminal and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        view = await run_in_threadpool(read_job, context, tenant, job_id)
    return view


def parse_event_id(value: str | None) -> int:
    """The number behind a Last-Event-ID; 0 without one. Raises InvalidQuery."""
    if not value:
        return 0
    if not value.isdecimal() or len(value) > 9:
        raise InvalidQuery(
            "Last-Event-ID is not one of this stream's ids", [Fault("/header/last-event-id", "must be a number")]
        )
    return int(value)


async def stream_events(context: Context, tenant: str, job_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    """Every event after number `after`, then new ones as they happen; ends once the job has.

    Progress is told between them without an id: it is a state to show, not an event to replay.
    """
    shown: dict[str, object] = {}
    ended: float | None = None
    while ended is None or time.monotonic() - ended < LINGER_SECONDS:
        row, events = await run_in_threadpool(_read_events, context, tenant, job_id, after)
        for event in events:
            yield ServerSentEvent(event=event.kind, id=str(event.sequence), data=_with_time(event))
            after = event.sequence
        if len(events) == EVENTS_A_READ:
            continue
        if row.progress != shown and not State(row.state).terminal:
            shown = row.progress
            yield ServerSentEvent(event="progress", data=shown)
        if State(row.state).terminal:
            ended = ended or time.monotonic()
        await asyncio.sleep(POLL_SECONDS)


def _read_events(context: Context, tenant: str, job_id: str, after: int) -> tuple[JobRow, list[EventRow]]:
    with context.database.snapshot() as session:
        # The job first: an event that comes between the two reads is then seen now or at the next turn, never lost.
        row = get_job(session, tenant, job_id)
        return row, list(events_after(session, tenant, job_id, after, EVENTS_A_READ))


def _with_time(event: EventRow) -> dict[str, object]:
    return {**event.data, "at": event.created_at.isoformat().replace("+00:00", "Z")}
