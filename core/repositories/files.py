"""Which files of jobs are needed: those that a row names, and those that a running attempt may be about to name."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import HELD
from core.tables import ArtifactRow, CheckpointRow, JobRow


@dataclass(frozen=True)
class NeededFiles:
    """`beginnings` are of the paths at which attempts write that own their jobs."""

    named: frozenset[str]
    beginnings: tuple[str, ...]

    def holds(self, path: str) -> bool:
        return path in self.named or path.startswith(self.beginnings)


def needed_files(session: Session, tenant: str, job_id: str | None = None) -> NeededFiles:
    """Of one job, or of all that the tenant has."""
    artifacts = select(ArtifactRow.path).where(ArtifactRow.tenant_id == tenant)
    checkpoints = select(CheckpointRow.path).where(CheckpointRow.tenant_id == tenant)
    running = select(JobRow.id, JobRow.attempt).where(JobRow.tenant_id == tenant, JobRow.state.in_(HELD))
    if job_id is not None:
        artifacts = artifacts.where(ArtifactRow.job_id == job_id)
        checkpoints = checkpoints.where(CheckpointRow.job_id == job_id)
        running = running.where(JobRow.id == job_id)
    owners = session.execute(running).all()
    beginnings = [f"checkpoints/{own_id}/{attempt}-" for own_id, attempt in owners]
    beginnings += [f"{tenant}/{own_id}/{attempt}/" for own_id, attempt in owners]
    return NeededFiles(frozenset([*session.scalars(artifacts), *session.scalars(checkpoints)]), tuple(beginnings))
