"""Claiming tasks, holding them by lease, and writing as the one that owns a task: as imports.py does for datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from core.errors import FencedOut
from core.repositories.claims import Holder
from core.repositories.leases import claim_oldest, held_by_gone, renew_owned, write_owned
from core.repositories.tasks import NO_PROGRESS, TaskAttempt, TaskKind, announce_task, end_task
from core.states import TaskState
from core.tables import TaskRow, utc_now

MOST_LOST_ATTEMPTS = 3
"""tries that may end without a verdict before the task has failed"""


@dataclass(frozen=True)
class TaskClaim:
    """A task just claimed."""

    attempt: TaskAttempt
    kind: str
    spec: dict[str, Any]
    uploads: list[dict[str, Any]]
    request_id: str | None


def claim_task(session: Session, holder: Holder, kind: TaskKind) -> TaskClaim | None:
    """Claims the task that has waited longest, or None. The caller commits before it starts anything."""
    waiting = and_(TaskRow.state == TaskState.QUEUED, TaskRow.kind == kind)
    row = claim_oldest(
        session, TaskRow, waiting, holder, state=TaskState.RUNNING, progress=dict(NO_PROGRESS), started_at=utc_now()
    )
    if row is None:
        return None
    attempt = TaskAttempt(row.tenant_id, row.id, row.attempt + 1)
    claimed_by = {"attempt": attempt.number, "actor": "worker", "cause": "claimed", "worker": holder.worker}
    announce_task(session, row, {"state": TaskState.RUNNING, **claimed_by})
    return TaskClaim(attempt, row.kind, row.spec, row.uploads, row.request_id)


def renew_task(session: Session, attempt: TaskAttempt) -> dict[str, Any]:
    """Extends the lease and tells the progress. Raises FencedOut, also once the task has ended."""
    progress = renew_owned(session, TaskRow, _owned(attempt))
    if progress is None:
        raise fenced(attempt)
    return progress


def record_task_progress(session: Session, attempt: TaskAttempt, progress: dict[str, Any]) -> None:
    """Raises FencedOut."""
    changed = write_owned(session, TaskRow, _owned(attempt), revision=TaskRow.revision + 1, progress=progress)
    if changed is None:
        raise fenced(attempt)


def finish_task(session: Session, attempt: TaskAttempt, result: dict[str, Any]) -> None:
    """Makes the result visible, with the files that it names. Raises FencedOut."""
    row = _lock_owned(session, attempt)
    row.result = result
    end_task(session, row, TaskState.SUCCEEDED, None, actor="worker")


def fail_task(session: Session, attempt: TaskAttempt, detail: str) -> None:
    """Raises FencedOut."""
    end_task(session, _lock_owned(session, attempt), TaskState.FAILED, detail, actor="worker")


def release_task(session: Session, attempt: TaskAttempt, detail: str, *, lost: bool) -> None:
    """Gives the task to whoever claims it next. `lost`: the try died; too many of those fail the task.

    Harmless when the try has ended meanwhile.
    """
    row = session.scalars(select(TaskRow).where(_owned(attempt)).with_for_update()).one_or_none()
    if row is None:
        return
    row.lost_attempts += int(lost)
    if row.lost_attempts >= MOST_LOST_ATTEMPTS:
        detail = f"{detail}; gave up after {MOST_LOST_ATTEMPTS} tries"
        end_task(session, row, TaskState.FAILED, detail, actor="worker")
        return
    row.state, row.lease_expires_at, row.progress = TaskState.QUEUED, None, dict(NO_PROGRESS)
    session.flush()
    announce_task(session, row, {"state": TaskState.QUEUED, "actor": "worker", "cause": "released", "detail": detail})


def lost_tasks(session: Session, boot_id: str) -> Sequence[tuple[TaskAttempt, Holder, bool]]:
    """Tasks whose lease has run out (True), or whose holder was on this host and may be dead (False)."""
    held = TaskRow.state == TaskState.RUNNING
    return [
        (TaskAttempt(row.tenant_id, row.id, row.attempt), holder, expired)
        for row, holder, expired in held_by_gone(session, TaskRow, held, boot_id)
    ]


def fenced(attempt: TaskAttempt) -> FencedOut:
    return FencedOut(f"task {attempt.task_id}", attempt.number)


def _lock_owned(session: Session, attempt: TaskAttempt) -> TaskRow:
    row = session.scalars(select(TaskRow).where(_owned(attempt)).with_for_update()).one_or_none()
    if row is None:
        raise fenced(attempt)
    return row


def _owned(attempt: TaskAttempt) -> Any:
    return and_(
        TaskRow.tenant_id == attempt.tenant,
        TaskRow.id == attempt.task_id,
        TaskRow.attempt == attempt.number,
        TaskRow.state == TaskState.RUNNING,
        TaskRow.lease_expires_at.is_not(None),
    )
