"""Many jobs side by side, read at once: what each is and reached, sums over its epochs, and points of its curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Row, case, func, or_, select
from sqlalchemy.orm import Session

from core.jobspec import MOST_EPOCHS
from core.repositories.epochs import mean_speed, plain_rows
from core.tables import EpochRow, JobRow

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")

Point = tuple[Any, ...]
"""an epoch's number, and its value in each of CURVES"""


@dataclass(frozen=True)
class EpochTotals:
    """A job's finished epochs summed up."""

    epochs: int
    last: int
    """its number"""
    seconds: float
    """of all, training and validation"""
    images_per_second: float | None
    """in training, all epochs together"""


@dataclass(frozen=True)
class Sampling:
    """How densely histories are read: of one of `most` epochs all, of a longer one those that its stride divides.

    Strides are powers of two: every epoch read of a long history is then read of a shorter one too, so that curves can be
    compared point by point.
    """

    most: int

    def stride(self, last: int) -> int:
        """Of a history that ends with epoch `last`: the smallest that leaves no more than `most`."""
        return 1 << ((last - 1) // self.most).bit_length()


def find_compared(session: Session, tenant: str, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """What is compared of jobs, by id; ids that there are not are left out."""
    rows = session.execute(
        select(
            JobRow.id,
            JobRow.state,
            JobRow.reason,
            JobRow.spec,
            JobRow.view,
            JobRow.architecture,
            JobRow.network,
            JobRow.best_epoch,
            JobRow.evaluation,
        ).where(JobRow.tenant_id == tenant, JobRow.id.in_(ids))
    )
    return {row.id: row for row in rows}


def sum_epochs(session: Session, tenant: str, ids: Sequence[str]) -> dict[str, EpochTotals]:
    """By id, of the jobs that have finished an epoch. One query, and the database adds up."""
    query = (
        select(
            EpochRow.job_id,
            func.count(),
            func.max(EpochRow.epoch),
            func.sum(EpochRow.seconds),
            mean_speed(),
        )
        .where(EpochRow.tenant_id == tenant, EpochRow.job_id.in_(ids))
        .group_by(EpochRow.job_id)
    )
    return {job: EpochTotals(*sums) for job, *sums in plain_rows(session.connection(), query)}


def read_curves(session: Session, tenant: str, ids: Sequence[str], sampling: Sampling) -> dict[str, list[Point]]:
    """By id: the epochs that `sampling` chooses, the first and the last, in order. Jobs without any are left out.

    One query, and what is not chosen does not leave the database.
    """
    ends = (
        select(EpochRow.job_id, func.max(EpochRow.epoch).label("last"))
        .where(EpochRow.job_id.in_(ids))
        .group_by(EpochRow.job_id)
        .cte("ends")
    )
    strides = [1 << power for power in range(sampling.stride(MOST_EPOCHS).bit_length())]
    stride = case(*((ends.c.last <= sampling.most * each, each) for each in strides[:-1]), else_=strides[-1])
    query = (
        select(EpochRow.job_id, EpochRow.epoch, *(getattr(EpochRow, name) for name in CURVES))
        .select_from(ends)
        .join(EpochRow, EpochRow.job_id == ends.c.job_id)
        .where(
            EpochRow.tenant_id == tenant,
            or_(EpochRow.epoch % stride == 0, EpochRow.epoch == 1, EpochRow.epoch == ends.c.last),
        )
        .order_by(EpochRow.job_id, EpochRow.epoch)
    )
    rows = plain_rows(session.connection(), query)
    return {job: [point[1:] for point in points] for job, points in groupby(rows, key=itemgetter(0))}
