"""The histories of a study's runs, put together by the database: its jobs' epochs never come to this process one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.tables import EpochRow, StudyRunRow

METRICS = ("accuracy", "loss", "val_accuracy", "val_loss")


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds of a variant; None where it was finite in none of them."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EpochSummary:
    """One epoch of a variant, over the `seeds` whose jobs have finished it."""

    variant: int
    epoch: int
    seeds: int
    spreads: dict[str, Spread]
    """by METRICS"""
    learning_rate: float
    seconds: float
    """that the epoch took, in the mean"""


def summarise_epochs(session: Session, tenant: str, study_id: str, variants: Collection[int]) -> Iterator[EpochSummary]:
    """Of those variants, by number, in the order of their epochs."""
    columns = [getattr(EpochRow, name) for name in METRICS]
    query = (
        select(
            StudyRunRow.variant,
            EpochRow.epoch,
            func.count(),
            func.avg(EpochRow.learning_rate),
            func.avg(EpochRow.seconds),
            *(summary(column) for column in columns for summary in (func.avg, func.min, func.max)),
        )
        .join(EpochRow, EpochRow.job_id == StudyRunRow.job_id)
        .where(
            StudyRunRow.tenant_id == tenant,
            EpochRow.tenant_id == tenant,
            StudyRunRow.study_id == study_id,
            StudyRunRow.variant.in_(variants),
        )
        .group_by(StudyRunRow.variant, EpochRow.epoch)
        .order_by(StudyRunRow.variant, EpochRow.epoch)
    )
    for variant, epoch, seeds, learning_rate, seconds, *values in session.execute(query).yield_per(1000):
        thirds = zip(values[::3], values[1::3], values[2::3], strict=True)
        spreads = {name: Spread(*third) for name, third in zip(METRICS, thirds, strict=True)}
        yield EpochSummary(variant, epoch, seeds, spreads, learning_rate, seconds)
