"""What happened to a job, numbered without gaps so that a reader can resume where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.tables import EventRow, JobRow, utc_now


def append_event(session: Session, tenant: str, job_id: str, kind: str, data: dict[str, Any]) -> int:
    """Adds one event; the job's row is locked until the transaction ends, so numbers and commits keep one order."""
    sequence = session.execute(
        update(JobRow)
        .where(JobRow.tenant_id == tenant, JobRow.id == job_id)
        .values(last_event=JobRow.last_event + 1, revision=JobRow.revision + 1)
        .returning(JobRow.last_event)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    session.add(
        EventRow(job_id=job_id, sequence=sequence, tenant_id=tenant, kind=kind, data=data, created_at=utc_now())
    )
    return sequence


def events_after(session: Session, tenant: str, job_id: str, sequence: int, limit: int) -> Sequence[EventRow]:
    """The next events, oldest first."""
    return session.scalars(
        select(EventRow)
        .where(EventRow.tenant_id == tenant, EventRow.job_id == job_id, EventRow.sequence > sequence)
        .order_by(EventRow.sequence)
        .limit(limit)
    ).all()


def log_lines(session: Session, tenant: str, job_id: str) -> Sequence[tuple[int, str]]:
    """(attempt, text) of every log event, oldest first."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.tenant_id == tenant, EventRow.job_id == job_id, EventRow.kind == "log")
        .order_by(EventRow.sequence)
    )
    return [(int(row.data["attempt"]), str(row.data["text"])) for row in rows]
