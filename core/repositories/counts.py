"""How many jobs, tasks and datasets there are in each state, and which versions serve."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.tables import BestRow, DatasetRow, JobRow, TaskRow


@dataclass(frozen=True)
class Counts:
    """At one moment, of one tenant."""

    jobs: dict[str, int]
    datasets: dict[str, int]
    tasks: dict[tuple[str, str], int]
    """by kind and state"""
    best: dict[str, tuple[int, int]]
    """version and revision, by model"""


def count_everything(session: Session, tenant: str) -> Counts:
    jobs = select(JobRow.state, func.count()).where(JobRow.tenant_id == tenant).group_by(JobRow.state)
    datasets = select(DatasetRow.state, func.count()).where(DatasetRow.tenant_id == tenant).group_by(DatasetRow.state)
    tasks = (
        select(TaskRow.kind, TaskRow.state, func.count())
        .where(TaskRow.tenant_id == tenant)
        .group_by(TaskRow.kind, TaskRow.state)
    )
    best = select(BestRow.name, BestRow.version, BestRow.revision).where(BestRow.tenant_id == tenant)
    return Counts(
        {str(state): count for state, count in session.execute(jobs)},
        {str(state): count for state, count in session.execute(datasets)},
        {(kind, state): count for kind, state, count in session.execute(tasks)},
        {name: (version, revision) for name, version, revision in session.execute(best)},
    )
