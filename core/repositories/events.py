"""What happened to a job, a dataset, a task or a study, numbered without gaps so that a reader can resume where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.tables import (
    DatasetEventRow,
    DatasetRow,
    EventRow,
    JobRow,
    StudyEventRow,
    StudyRow,
    TaskEventRow,
    TaskRow,
    utc_now,
)


def append_event(session: Session, tenant: str, job_id: str, kind: str, data: dict[str, Any]) -> int:
    """Adds one event; the job's row is locked until the transaction ends, so numbers and commits keep one order."""
    event = {"tenant_id": tenant, "kind": kind, "data": data, "created_at": utc_now()}
    sequence = _next_number(session, JobRow, tenant, job_id)
    session.add(EventRow(job_id=job_id, sequence=sequence, **event))
    return sequence


def append_dataset_event(session: Session, tenant: str, dataset_id: str, kind: str, data: dict[str, Any]) -> int:
    """The same for a dataset."""
    event = {"tenant_id": tenant, "kind": kind, "data": data, "created_at": utc_now()}
    sequence = _next_number(session, DatasetRow, tenant, dataset_id)
    session.add(DatasetEventRow(dataset_id=dataset_id, sequence=sequence, **event))
    return sequence


def append_task_event(session: Session, tenant: str, task_id: str, kind: str, data: dict[str, Any]) -> int:
    """The same for a task."""
    event = {"tenant_id": tenant, "kind": kind, "data": data, "created_at": utc_now()}
    sequence = _next_number(session, TaskRow, tenant, task_id)
    session.add(TaskEventRow(task_id=task_id, sequence=sequence, **event))
    return sequence


def append_study_event(session: Session, tenant: str, study_id: str, kind: str, data: dict[str, Any]) -> int:
    """The same for a study."""
    event = {"tenant_id": tenant, "kind": kind, "data": data, "created_at": utc_now()}
    sequence = _next_number(session, StudyRow, tenant, study_id)
    session.add(StudyEventRow(study_id=study_id, sequence=sequence, **event))
    return sequence


def events_after(session: Session, tenant: str, job_id: str, sequence: int, limit: int) -> Sequence[EventRow]:
    """A job's next events, oldest first."""
    mine = (EventRow.tenant_id == tenant, EventRow.job_id == job_id, EventRow.sequence > sequence)
    return session.scalars(select(EventRow).where(*mine).order_by(EventRow.sequence).limit(limit)).all()


def dataset_events_after(
    session: Session, tenant: str, dataset_id: str, sequence: int, limit: int
) -> Sequence[DatasetEventRow]:
    """A dataset's next events, oldest first."""
    row = DatasetEventRow
    mine = (row.tenant_id == tenant, row.dataset_id == dataset_id, row.sequence > sequence)
    return session.scalars(select(row).where(*mine).order_by(row.sequence).limit(limit)).all()


def task_events_after(session: Session, tenant: str, task_id: str, sequence: int, limit: int) -> Sequence[TaskEventRow]:
    """A task's next events, oldest first."""
    row = TaskEventRow
    mine = (row.tenant_id == tenant, row.task_id == task_id, row.sequence > sequence)
    return session.scalars(select(row).where(*mine).order_by(row.sequence).limit(limit)).all()


def study_events_after(
    session: Session, tenant: str, study_id: str, sequence: int, limit: int
) -> Sequence[StudyEventRow]:
    """A study's next events, oldest first."""
    row = StudyEventRow
    mine = (row.tenant_id == tenant, row.study_id == study_id, row.sequence > sequence)
    return session.scalars(select(row).where(*mine).order_by(row.sequence).limit(limit)).all()


def log_lines(session: Session, tenant: str, job_id: str) -> Sequence[tuple[int, str]]:
    """(attempt, text) of every log event, oldest first."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.tenant_id == tenant, EventRow.job_id == job_id, EventRow.kind == "log")
        .order_by(EventRow.sequence)
    )
    return [(int(row.data["attempt"]), str(row.data["text"])) for row in rows]


def _next_number(
    session: Session, owner: type[JobRow | DatasetRow | TaskRow | StudyRow], tenant: str, own_id: str
) -> int:
    return session.execute(
        update(owner)
        .where(owner.tenant_id == tenant, owner.id == own_id)
        .values(last_event=owner.last_event + 1, revision=owner.revision + 1)
        .returning(owner.last_event)
        .execution_options(synchronize_session=False)
    ).scalar_one()
