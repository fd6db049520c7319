"""Tasks as clients see them: created, listed, cancelled, tried again, deleted. Workers claim them in task_attempts.py.

A task that is cancelled or deleted is so at once: whoever was at it finds itself fenced out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import uuid_utils
from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import InvalidTransition, TaskNotFound
from core.repositories.events import append_task_event
from core.repositories.pages import Position, beyond
from core.states import UNFINISHED, TaskState
from core.tables import TaskRow, utc_now

TaskKind = Literal["export", "batch_prediction"]

FOLDER = "tasks"
"""in the artifact store"""

NO_PROGRESS: dict[str, Any] = {
    "phase": "waiting",
    "done": 0,
    "total": None,
    "eta_seconds": None,
    "images_per_second": None,
}


@dataclass(frozen=True)
class TaskAttempt:
    """A try's identity and fencing token: what every write of it must name."""

    tenant: str
    task_id: str
    number: int

    @property
    def folder(self) -> str:
        """Where this try writes, in the artifact store."""
        return f"{FOLDER}/{self.task_id}-{self.number}"


@dataclass(frozen=True)
class NewTask:
    """What a client wants done. Of one `kind` there is one task of each `key`, which is the id where none is given."""

    kind: TaskKind
    spec: dict[str, Any]
    key: str | None = None
    uploads: tuple[dict[str, Any], ...] = ()
    id: str = ""
    """chosen by whoever stored the uploads under it"""


def upload_folder(task_id: str) -> str:
    """Where the files that came with a task are kept until its end."""
    return f"{FOLDER}/{task_id}-upload"


def create_task(session: Session, tenant: str, wanted: NewTask, request_id: str | None) -> TaskRow:
    """A queued task, or the one that has the key already."""
    own_id = wanted.id or uuid_utils.uuid7().hex
    row = TaskRow(
        id=own_id,
        tenant_id=tenant,
        kind=wanted.kind,
        key=wanted.key or own_id,
        state=TaskState.QUEUED,
        spec=wanted.spec,
        uploads=list(wanted.uploads),
        request_id=request_id,
        revision=1,
        last_event=0,
        attempt=0,
        lost_attempts=0,
        progress=dict(NO_PROGRESS),
        created_at=utc_now(),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        there = find_by_key(session, tenant, wanted.kind, row.key)
        if there is None:
            raise
        return there
    announce_task(session, row, {"state": TaskState.QUEUED, "actor": "client", "cause": "created"})
    session.refresh(row)
    return row


def find_by_key(session: Session, tenant: str, kind: TaskKind, key: str) -> TaskRow | None:
    return session.scalars(_of_kind(tenant, kind).where(TaskRow.key == key)).one_or_none()


def get_task(session: Session, tenant: str, kind: TaskKind, task_id: str) -> TaskRow:
    """Raises TaskNotFound."""
    row = session.scalars(_of_kind(tenant, kind).where(TaskRow.id == task_id)).one_or_none()
    if row is None:
        raise TaskNotFound(kind, task_id)
    return row


def list_tasks(
    session: Session,
    tenant: str,
    kind: TaskKind,
    state: TaskState | None,
    *,
    limit: int,
    after: Position | None,
    descending: bool,
) -> Sequence[TaskRow]:
    """Up to `limit` tasks by (created_at, id), from the position on."""
    query = _of_kind(tenant, kind)
    if state is not None:
        query = query.where(TaskRow.state == state)
    keys = (TaskRow.created_at, TaskRow.id)
    if after is not None:
        query = query.where(beyond(*keys, after, descending=descending))
    return session.scalars(query.order_by(*(key.desc() if descending else key for key in keys)).limit(limit)).all()


def cancel_task(session: Session, tenant: str, kind: TaskKind, task_id: str) -> TaskRow:
    """Ends it at once; cancelling twice is harmless. Raises TaskNotFound, InvalidTransition."""
    row = _locked(session, tenant, kind, task_id)
    if row.state == TaskState.CANCELLED:
        return row
    if row.state not in UNFINISHED:
        raise InvalidTransition(
            f"{row.kind.replace('_', ' ')} {row.id} is {row.state}; it cannot be cancelled any more"
        )
    end_task(session, row, TaskState.CANCELLED, "cancelled by a client", actor="client")
    session.refresh(row)
    return row


def retry_task(session: Session, tenant: str, kind: TaskKind, task_id: str) -> TaskRow:
    """Queues a task that has ended again; one that has not is left as it is. Raises TaskNotFound."""
    row = _locked(session, tenant, kind, task_id)
    if row.state in UNFINISHED:
        return row
    row.state, row.detail, row.finished_at, row.result = TaskState.QUEUED, None, None, None
    row.lost_attempts, row.progress = 0, dict(NO_PROGRESS)
    session.flush()
    announce_task(session, row, {"state": TaskState.QUEUED, "actor": "client", "cause": "retried"})
    session.refresh(row)
    return row


def delete_task(session: Session, tenant: str, kind: TaskKind, task_id: str) -> list[str]:
    """Deletes the row. Returns its folders, for the caller to remove after the commit. Raises TaskNotFound."""
    row = _locked(session, tenant, kind, task_id)
    folders = [TaskAttempt(tenant, row.id, number).folder for number in range(1, row.attempt + 1)]
    session.delete(row)
    session.flush()
    return [upload_folder(task_id), *folders]


def needed_folders(session: Session, task_id: str | None = None) -> set[str]:
    """Names in the store's folder of tasks that belong to a task's row: of one task, or of all."""
    query = select(TaskRow)
    if task_id is not None:
        query = query.where(TaskRow.id == task_id)
    needed: set[str] = set()
    for row in session.scalars(query):
        if row.state in UNFINISHED:
            needed.add(f"{row.id}-upload")
        if row.state == TaskState.RUNNING:
            needed.add(f"{row.id}-{row.attempt}")
        for file in result_files(row):
            needed.add(file["path"].split("/")[1])
    return needed


def result_files(row: TaskRow) -> list[dict[str, Any]]:
    """The files that a succeeded task made: {"path", "sha256", "bytes"}."""
    return list((row.result or {}).get("files", {}).values())


def end_task(session: Session, row: TaskRow, state: TaskState, detail: str | None, actor: str) -> None:
    """Of a row that the caller holds."""
    row.state = state
    row.detail = detail
    row.lease_expires_at = None
    row.finished_at = utc_now()
    total = row.progress.get("total")
    finished = {"done": total} if state == TaskState.SUCCEEDED and total is not None else {}
    row.progress = {**row.progress, **finished, "phase": "done", "eta_seconds": None}
    session.flush()
    announce_task(session, row, {"state": state, "detail": detail, "actor": actor, "cause": "ended"})


def announce_task(session: Session, row: TaskRow, data: dict[str, Any]) -> None:
    """An event of its state."""
    append_task_event(session, row.tenant_id, row.id, "state", data)


def _of_kind(tenant: str, kind: TaskKind) -> Select[TaskRow]:
    return select(TaskRow).where(TaskRow.tenant_id == tenant, TaskRow.kind == kind)


def _locked(session: Session, tenant: str, kind: TaskKind, task_id: str) -> TaskRow:
    """Raises TaskNotFound."""
    row = session.scalars(_of_kind(tenant, kind).where(TaskRow.id == task_id).with_for_update()).one_or_none()
    if row is None:
        raise TaskNotFound(kind, task_id)
    return row
