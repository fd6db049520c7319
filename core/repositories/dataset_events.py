"""What happened to a dataset, numbered without gaps, as core/repositories/events.py does for jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.tables import DatasetEventRow, DatasetRow, utc_now


def append_dataset_event(session: Session, tenant: str, dataset_id: str, kind: str, data: dict[str, Any]) -> int:
    """Adds one event; the dataset's row is locked until the transaction ends."""
    sequence = session.execute(
        update(DatasetRow)
        .where(DatasetRow.tenant_id == tenant, DatasetRow.id == dataset_id)
        .values(last_event=DatasetRow.last_event + 1, revision=DatasetRow.revision + 1)
        .returning(DatasetRow.last_event)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    session.add(
        DatasetEventRow(
            dataset_id=dataset_id, sequence=sequence, tenant_id=tenant, kind=kind, data=data, created_at=utc_now()
        )
    )
    return sequence


def dataset_events_after(
    session: Session, tenant: str, dataset_id: str, sequence: int, limit: int
) -> Sequence[DatasetEventRow]:
    """The next events, oldest first."""
    return session.scalars(
        select(DatasetEventRow)
        .where(
            DatasetEventRow.tenant_id == tenant,
            DatasetEventRow.dataset_id == dataset_id,
            DatasetEventRow.sequence > sequence,
        )
        .order_by(DatasetEventRow.sequence)
        .limit(limit)
    ).all()
