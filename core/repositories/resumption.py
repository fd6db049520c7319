"""Where an attempt begins: after the last checkpoint that it can trust, or at the start."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.repositories.attempts import Attempt, write_job
from core.repositories.checkpoints import forget_checkpoints, list_checkpoints
from core.repositories.epochs import EpochMetrics, delete_epochs, list_epochs
from core.repositories.events import append_event
from core.tables import EpochRow, JobRow


def begin_training(
    session: Session, attempt: Attempt, epoch: int, best_epoch: int | None, troubles: Sequence[str]
) -> list[EpochMetrics]:
    """Takes back what earlier attempts wrote beyond `epoch` finished epochs, and says so in an event.

    Returns the history up to there. Raises FencedOut.
    """
    write_job(session, attempt)
    delete_epochs(session, attempt.tenant, attempt.job_id, after=epoch)
    stale = [
        checkpoint.epoch
        for checkpoint in list_checkpoints(session, attempt.tenant, attempt.job_id)
        if checkpoint.epoch > epoch
    ]
    forget_checkpoints(session, attempt.tenant, attempt.job_id, stale)
    history = [_metrics(row) for row in list_epochs(session, attempt.tenant, attempt.job_id)]
    best = next((vars(metrics) for metrics in history if metrics.epoch == best_epoch), None)
    progress = session.scalars(select(JobRow.progress).where(JobRow.id == attempt.job_id)).one()
    write_job(session, attempt, best_epoch=best, progress={**progress, "epoch": epoch, "step": 0, "eta_seconds": None})
    if epoch or troubles:
        data = {"attempt": attempt.number, "resumed_after_epoch": epoch, "troubles": list(troubles)}
        append_event(session, attempt.tenant, attempt.job_id, "checkpoint", data)
    return history


def _metrics(row: EpochRow) -> EpochMetrics:
    return EpochMetrics(**{name: getattr(row, name) for name in EpochMetrics.__dataclass_fields__})
