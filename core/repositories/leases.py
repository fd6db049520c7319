"""Rows that one worker at a time holds by lease: datasets while they are imported, and tasks.

The number of a row's newest attempt is the fencing token: whoever writes names it. Leases count on the database's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from core.database import database_now
from core.repositories.attempts import LEASE_SECONDS
from core.repositories.claims import Holder
from core.tables import DatasetRow, TaskRow

Row = TypeVar("Row", DatasetRow, TaskRow)


def claim_oldest(
    session: Session, kind: type[Row], waiting: ColumnElement[bool], holder: Holder, **values: Any
) -> Row | None:
    """The row that has waited longest, as it was before its lease and its next attempt number were taken; None without one.

    `values` are columns to change with it. The caller commits before it starts anything.
    """
    free = kind.lease_expires_at.is_(None)
    row = session.scalars(
        select(kind).where(waiting, free).order_by(kind.created_at, kind.id).limit(1).with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    claimed = session.execute(
        update(kind)
        .where(kind.id == row.id, kind.attempt == row.attempt, free)
        .values(
            attempt=row.attempt + 1,
            lease_expires_at=database_now() + LEASE_SECONDS,
            boot_id=holder.boot_id,
            pid=holder.pid,
            process_started=holder.process_started,
            **values,
        )
        .returning(kind.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if claimed is None else row


def write_owned(session: Session, kind: type[Row], owned: ColumnElement[bool], **values: Any) -> dict[str, Any] | None:
    """Changes columns of the row that its attempt owns. Returns its progress; None when another attempt owns it."""
    progress: dict[str, Any] | None = session.execute(
        update(kind).where(owned).values(**values).returning(kind.progress).execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return progress


def renew_owned(session: Session, kind: type[Row], owned: ColumnElement[bool]) -> dict[str, Any] | None:
    """Extends the lease. Returns the progress; None when another attempt owns the row."""
    return write_owned(session, kind, owned, lease_expires_at=database_now() + LEASE_SECONDS)


def held_by_gone(
    session: Session, kind: type[Row], held: ColumnElement[bool], boot_id: str
) -> Sequence[tuple[Row, Holder, bool]]:
    """Rows whose lease has run out (True), or whose holder was on this host and may be dead (False)."""
    expired = kind.lease_expires_at < database_now()
    rows = session.execute(
        select(kind, expired.label("expired")).where(
            held, kind.lease_expires_at.is_not(None), or_(kind.boot_id == boot_id, expired)
        )
    )
    return [
        (row, Holder("", row.boot_id or "", row.pid or 0, row.process_started or 0.0), bool(over)) for row, over in rows
    ]
