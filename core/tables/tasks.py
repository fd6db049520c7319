"""Tasks: what a worker does for the service beside training and importing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Table


class TaskRow(Table):
    """An export of a model version or a batch prediction, held by lease while a worker is at it."""

    __tablename__ = "tasks"
    __table_args__ = (
        Index("uq_tasks_key", "tenant_id", "kind", "key", unique=True),
        Index("ix_tasks_listing", "tenant_id", "kind", "created_at", "id"),
        Index("ix_tasks_queue", "state", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]  # export, batch_prediction
    key: Mapped[str]  # what may exist once only: an export's version and format; else the id
    state: Mapped[str]  # QUEUED RUNNING SUCCEEDED FAILED CANCELLED
    detail: Mapped[str | None] = mapped_column(Text)
    spec: Mapped[dict[str, Any]]
    uploads: Mapped[list[dict[str, Any]]]  # {"name", "path", "bytes", "sha256"} of files kept until the end
    request_id: Mapped[str | None]
    revision: Mapped[int]
    last_event: Mapped[int]

    attempt: Mapped[int]  # number of the newest try, and its fencing token
    lost_attempts: Mapped[int]  # tries that ended without a verdict
    lease_expires_at: Mapped[float | None]
    boot_id: Mapped[str | None]  # with pid and process_started: the worker that holds the lease
    pid: Mapped[int | None]
    process_started: Mapped[float | None]

    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]  # figures, and the files made: {"files": {name: {"path", "bytes", "sha256"}}}

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class TaskEventRow(Table):
    """What happened to a task, in order. `sequence` counts from 1 within the task and never has a gap."""

    __tablename__ = "task_events"

    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
