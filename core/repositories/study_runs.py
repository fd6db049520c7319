"""The runs of a study: how many stand where, which are next, and which wait for a resumption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, select
from sqlalchemy.orm import Session

from core.repositories.moves import request_resume
from core.states import Reason, RunState, State
from core.tables import JobRow, StudyRow, StudyRunRow, StudyVariantRow

PROGRESS = ("runs", "waiting", "queued", "running", "paused", "succeeded", "pruned", "failed", "cancelled", "skipped")
SUMS = ("reused", "epochs", "epochs_planned", "epochs_reused")
_GROUPS = {
    RunState.WAITING: "waiting",
    RunState.SKIPPED: "skipped",
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.PAUSING: "running",
    State.CANCELLING: "running",
    State.PAUSED: "paused",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


_state_of_run: ColumnElement[str] = case(
    (JobRow.state.is_not(None), JobRow.state),
    (StudyRunRow.detail.is_not(None), RunState.SKIPPED.value),
    else_=RunState.WAITING.value,
)
_variant_of_run = and_(StudyVariantRow.study_id == StudyRunRow.study_id, StudyVariantRow.number == StudyRunRow.variant)


def count_runs(session: Session, study: StudyRow) -> dict[str, Any]:
    """How many runs stand where (PROGRESS), how many were reused, and how many epochs they have finished of how many (SUMS).

    One query, whatever the number of runs. Donors count as well.
    """
    pruned = case((JobRow.reason == Reason.PRUNED, 1), else_=0)
    done = JobRow.progress["epoch"].as_integer()
    planned = func.coalesce(JobRow.progress["epochs"].as_integer(), StudyVariantRow.spec["epochs"].as_integer())
    ended = JobRow.state.in_((State.SUCCEEDED, State.FAILED, State.CANCELLED))
    groups = session.execute(
        select(
            _state_of_run,
            pruned,
            func.count(),
            func.sum(case((StudyRunRow.reused, 1), else_=0)),
            func.sum(func.coalesce(done, 0)),
            func.sum(case((ended, done), (StudyRunRow.detail.is_not(None), 0), else_=planned)),
            func.sum(case((StudyRunRow.reused, done), else_=0)),
        )
        .select_from(StudyRunRow)
        .join(StudyVariantRow, _variant_of_run)
        .outerjoin(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
        .group_by(_state_of_run, pruned)
    ).all()
    progress: dict[str, Any] = dict.fromkeys(PROGRESS, 0) | dict.fromkeys(SUMS, 0)
    for name, was_pruned, count, *sums in groups:
        group = "pruned" if was_pruned and name == State.CANCELLED else _GROUPS[name]
        progress[group] += count
        progress["runs"] += count
        for key, value in zip(SUMS, sums, strict=True):
            progress[key] += int(value or 0)
    return progress


def waiting_runs(session: Session, study: StudyRow, limit: int) -> Sequence[StudyRunRow]:
    """The next runs to be started, in turn."""
    return session.scalars(
        _of(study)
        .where(StudyRunRow.job_id.is_(None), StudyRunRow.detail.is_(None))
        .order_by(StudyRunRow.turn)
        .limit(limit)
    ).all()


def list_runs(
    session: Session, study: StudyRow, state: str | None, *, limit: int, after: int
) -> Sequence[Row[StudyRunRow, StudyVariantRow, JobRow | None]]:
    """Up to `limit` runs in turn, beyond that of number `after`, with their variants and jobs; of a state, or of any."""
    query = (
        select(StudyRunRow, StudyVariantRow, JobRow)
        .join(StudyVariantRow, _variant_of_run)
        .outerjoin(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id, StudyRunRow.turn > after)
    )
    if state is not None:
        query = query.where(_state_of_run == state)
    return session.execute(query.order_by(StudyRunRow.turn).limit(limit)).all()


def resume_paused(session: Session, study: StudyRow) -> list[str]:
    """Queues the jobs again that a pause of the study has paused. Returns their ids. One still pausing keeps its mark."""
    runs = session.execute(
        select(StudyRunRow, JobRow)
        .join(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id, StudyRunRow.paused)
    ).all()
    resumed = []
    for run, job in runs:
        if job.state == State.PAUSING:
            continue
        run.paused = False
        if job.state == State.PAUSED:
            request_resume(session, study.tenant_id, job.id)
            resumed.append(job.id)
    session.flush()
    return resumed


def _of(study: StudyRow) -> Any:
    return select(StudyRunRow).where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
