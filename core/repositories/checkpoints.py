"""Checkpoints of a job: the newest two, each visible only by its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.tables import CheckpointRow, utc_now

KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A file in the artifact store that holds a training's state after `epoch` epochs."""

    epoch: int
    path: str
    sha256: str
    bytes: int


def list_checkpoints(session: Session, tenant: str, job_id: str) -> list[Checkpoint]:
    """Newest first."""
    rows = session.scalars(
        select(CheckpointRow)
        .where(CheckpointRow.tenant_id == tenant, CheckpointRow.job_id == job_id)
        .order_by(CheckpointRow.epoch.desc())
    )
    return [Checkpoint(row.epoch, row.path, row.sha256, row.bytes) for row in rows]


def add_checkpoint(session: Session, tenant: str, job_id: str, checkpoint: Checkpoint) -> Sequence[str]:
    """Makes it the newest. Returns the paths of those that are not kept any more, to delete after the commit."""
    earlier = list_checkpoints(session, tenant, job_id)
    obsolete = [old for old in earlier if old.epoch >= checkpoint.epoch]
    obsolete += [old for old in earlier if old.epoch < checkpoint.epoch][KEPT - 1 :]
    forget_checkpoints(session, tenant, job_id, [old.epoch for old in obsolete])
    session.add(
        CheckpointRow(
            job_id=job_id,
            tenant_id=tenant,
            epoch=checkpoint.epoch,
            path=checkpoint.path,
            sha256=checkpoint.sha256,
            bytes=checkpoint.bytes,
            created_at=utc_now(),
        )
    )
    session.flush()
    return [old.path for old in obsolete]


def forget_checkpoints(session: Session, tenant: str, job_id: str, epochs: Sequence[int] | None = None) -> None:
    """Those of some epochs, or all."""
    query = delete(CheckpointRow).where(CheckpointRow.tenant_id == tenant, CheckpointRow.job_id == job_id)
    session.execute(query if epochs is None else query.where(CheckpointRow.epoch.in_(epochs)))
