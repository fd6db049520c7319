"""Many jobs at once, as a comparison needs them: three queries, whatever the number of jobs and epochs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, case, func, or_, select
from sqlalchemy.orm import Session

from core.tables import EpochRow, JobRow

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


def find_jobs(session: Session, tenant: str, ids: Collection[str]) -> dict[str, Row[Any]]:
    """Spec, state and figures of those that there are, by id."""
    columns = (
        JobRow.id,
        JobRow.state,
        JobRow.architecture,
        JobRow.view,
        JobRow.spec,
        JobRow.network,
        JobRow.best_epoch,
        JobRow.evaluation,
    )
    found = session.execute(select(*columns).where(JobRow.tenant_id == tenant, JobRow.id.in_(ids)))
    return {row.id: row for row in found}


def total_epochs(session: Session, tenant: str, ids: Collection[str]) -> dict[str, Row[Any]]:
    """Of each job with a finished epoch: `epochs`, the `last` one's number, `seconds`, `images_per_second` over all."""
    inverse = case((EpochRow.images_per_second > 0, 1.0 / EpochRow.images_per_second))
    columns: tuple[Any, ...] = (
        EpochRow.job_id,
        func.count().label("epochs"),
        func.max(EpochRow.epoch).label("last"),
        func.sum(EpochRow.seconds).label("seconds"),
        (func.count(inverse) / func.sum(inverse)).label("images_per_second"),
    )
    own = (EpochRow.tenant_id == tenant, EpochRow.job_id.in_(ids))
    return {row.job_id: row for row in session.execute(select(*columns).where(*own).group_by(EpochRow.job_id))}


def curve_points(session: Session, tenant: str, ids: Collection[str], stride: int) -> Sequence[Row[Any]]:
    """(job, epoch, *CURVES) by job and epoch: epochs 1, 1 + stride, 1 + 2 stride, … of each job, and its last."""
    own = (EpochRow.tenant_id == tenant, EpochRow.job_id.in_(ids))
    last = (
        select(EpochRow.job_id, func.max(EpochRow.epoch).label("epoch"))
        .where(*own)
        .group_by(EpochRow.job_id)
        .subquery()
    )
    return session.execute(
        select(EpochRow.job_id, EpochRow.epoch, *(getattr(EpochRow, name) for name in CURVES))
        .join(last, last.c.job_id == EpochRow.job_id)
        .where(*own, or_((EpochRow.epoch - 1) % stride == 0, EpochRow.epoch == last.c.epoch))
        .order_by(EpochRow.job_id, EpochRow.epoch)
    ).all()
