"""What exports and batch predictions have in common on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from core.repositories.events import task_events_after
from core.repositories.tasks import TaskKind, get_task
from core.states import TaskState
from core.tables import TaskRow
from service.context import Context
from service.watching import EVENTS_A_READ, Moment


class TaskProgressView(BaseModel):
    phase: str = Field(description="waiting, then what the worker is at, done at last")
    done: int = Field(description="images, or bytes while an archive is checked")
    total: int | None
    eta_seconds: float | None
    images_per_second: float | None


class TaskView(BaseModel):
    """Something that a worker does on request. `detail` says why it failed, or what it waits for."""

    id: str
    state: TaskState
    detail: str | None
    progress: TaskProgressView
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    etag: str

    @property
    def ended(self) -> bool:
        return self.state.terminal


def common_fields(row: TaskRow) -> dict[str, Any]:
    """Of a TaskView."""
    return {
        "id": row.id,
        "state": row.state,
        "detail": row.detail,
        "progress": row.progress,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "etag": f'"{row.id[-12:]}.{row.revision}"',
    }


def read_moment(context: Context, tenant: str, kind: TaskKind, task_id: str, after: int) -> Moment:
    """What a stream of the task's events tells next. Raises TaskNotFound."""
    with context.database.snapshot() as session:
        row = get_task(session, tenant, kind, task_id)
        events = task_events_after(session, tenant, row.id, after, EVENTS_A_READ)
        return Moment(row.progress, TaskState(row.state).terminal, events)
