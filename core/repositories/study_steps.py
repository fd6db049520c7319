"""What workers ask of studies: which to look at, which jobs may be taken over, and how a study ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from core.repositories.datasets import find_dataset
from core.repositories.events import append_study_event
from core.repositories.studies import announce_study
from core.states import ENDED, State, StudyState
from core.tables import JobRow, StudyRow, StudyRunRow, StudyVariantRow, utc_now
from core.validation import CheckedSpec

GOING = (StudyState.QUEUED, StudyState.RUNNING, StudyState.PAUSED)


def going_studies(session: Session) -> Sequence[StudyRow]:
    """Those that may have something to start, to end or to tell, of all tenants, oldest first."""
    return session.scalars(select(StudyRow).where(StudyRow.state.in_(GOING)).order_by(StudyRow.created_at)).all()


def take_study(session: Session, tenant: str, study_id: str) -> StudyRow | None:
    """The study, held until the transaction ends; None while somebody else holds it, or where it is over."""
    query = select(StudyRow).where(StudyRow.tenant_id == tenant, StudyRow.id == study_id, StudyRow.state.in_(GOING))
    return session.scalars(query.with_for_update(skip_locked=True)).one_or_none()


def unfinished_jobs(session: Session, study: StudyRow) -> int:
    """How many of its own jobs wait or train."""
    query = _jobs_of(study, select(func.count())).where(StudyRunRow.reused.is_(False), JobRow.state.not_in(ENDED))
    return session.scalar(query) or 0


def any_success(session: Session, study: StudyRow) -> bool:
    """Whether a run of a variant has succeeded that is compared: a donor alone answers nothing."""
    variant = and_(StudyVariantRow.study_id == StudyRunRow.study_id, StudyVariantRow.number == StudyRunRow.variant)
    query = _jobs_of(study, select(StudyRunRow.variant)).join(StudyVariantRow, variant)
    query = query.where(StudyVariantRow.donor.is_(False), JobRow.state == State.SUCCEEDED)
    return session.scalar(query.limit(1)) is not None


def reusable_job(session: Session, study: StudyRow, checked: CheckedSpec) -> str | None:
    """The newest finished job with the same spec on the same images that is in no run of the study.

    Two variants with one spec are so trained apart, and their difference is chance.
    """
    dataset = find_dataset(session, study.tenant_id, checked.spec.dataset.name)
    if dataset is None:
        return None
    taken = select(StudyRunRow.job_id).where(StudyRunRow.study_id == study.id, StudyRunRow.job_id.is_not(None))
    return session.scalar(
        select(JobRow.id)
        .where(JobRow.tenant_id == study.tenant_id, JobRow.spec_hash == checked.spec_hash)
        .where(JobRow.state == State.SUCCEEDED, JobRow.dataset_id == dataset.id, JobRow.model_version.is_not(None))
        .where(JobRow.id.not_in(taken))
        .order_by(JobRow.created_at.desc())
        .limit(1)
    )


def tell_ends(session: Session, study: StudyRow) -> None:
    """An event for each run whose job has ended since the last look; again where a job was tried again and ended otherwise."""
    query = _jobs_of(study, select(StudyRunRow, JobRow.state, JobRow.reason)).where(
        or_(
            and_(JobRow.state.in_(ENDED), or_(StudyRunRow.told.is_(None), StudyRunRow.told != JobRow.state)),
            and_(JobRow.state.not_in(ENDED), StudyRunRow.told.is_not(None)),
        )
    )
    for run, state, reason in session.execute(query).all():
        run.told = state if State(state).terminal else None
        tell_run(session, study, run, state, reason)


def tell_run(session: Session, study: StudyRow, run: StudyRunRow, state: str, reason: str | None = None) -> None:
    """An event of one run."""
    data = {"variant": run.variant, "seed": run.seed, "job": run.job_id, "state": state, "reason": reason}
    append_study_event(session, study.tenant_id, study.id, "run", {**data, "detail": run.detail})


def skip_run(session: Session, study: StudyRow, run: StudyRunRow, why: str) -> None:
    """It never gets a job."""
    run.detail = why
    session.flush()
    tell_run(session, study, run, "SKIPPED")


def move_study(session: Session, study: StudyRow, state: StudyState, detail: str | None, cause: str) -> None:
    """Of a study that the caller holds."""
    study.state, study.detail = state, detail
    if state is StudyState.RUNNING:
        study.started_at = study.started_at or utc_now()
    if state.terminal:
        study.finished_at = utc_now()
    session.flush()
    announce_study(session, study, cause, actor="worker")


def _jobs_of(study: StudyRow, query: Any) -> Any:
    return (
        query.select_from(StudyRunRow)
        .join(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
    )
