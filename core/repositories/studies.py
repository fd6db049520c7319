"""Studies as their clients see them: create, read, list, extend, pause, resume, cancel. Workers move them on (study_runs.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uuid_utils
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import InvalidTransition, StudyNotFound
from core.repositories.events import append_study_event
from core.repositories.moves import request_cancel, request_pause
from core.repositories.pages import Position, beyond
from core.repositories.study_runs import count_runs, resume_paused
from core.states import ENDED, State, StudyState
from core.tables import JobRow, StudyRow, StudyRunRow, StudyVariantRow, utc_now

TURNS_A_SEED = 1_000_000
"""more than a study has variants: every variant's first seed comes before any second"""


@dataclass(frozen=True)
class NewVariant:
    """A checked point of a study's space."""

    name: str
    architecture: str
    body: dict[str, Any]
    """what its jobs are submitted with, but for the seed"""
    spec: dict[str, Any]
    """the same, normalised"""
    levels: dict[str, Any]
    """what the space set, by JSON pointer into the job spec"""
    starts_from: dict[str, Any] | None = None
    """{"variant": its number, "unless": "imagenet" or None}"""
    donor: bool = False
    search: dict[str, Any] | None = None


@dataclass(frozen=True)
class NewStudy:
    """A checked study spec."""

    name: str
    spec: dict[str, Any]
    objective: dict[str, Any]
    dataset: str
    stand_in: bool
    seeds: list[int]
    variants: list[NewVariant]
    """none yet where a search chooses them"""
    warnings: list[dict[str, Any]]


def create_study(session: Session, tenant: str, new: NewStudy, request_id: str | None) -> StudyRow:
    """A QUEUED study with all its runs waiting, and its first event."""
    row = StudyRow(
        id=uuid_utils.uuid7().hex,
        tenant_id=tenant,
        name=new.name,
        state=StudyState.QUEUED,
        spec=new.spec,
        objective=new.objective,
        dataset=new.dataset,
        stand_in=new.stand_in,
        request_id=request_id,
        revision=1,
        last_event=0,
        progress={},
        warnings=new.warnings,
        created_at=utc_now(),
    )
    session.add(row)
    session.flush()
    add_variants(session, row, new.variants, new.seeds)
    row.progress = count_runs(session, row)
    session.flush()
    announce_study(session, row, "submitted", actor="client")
    session.refresh(row)
    return row


def add_variants(session: Session, study: StudyRow, variants: Sequence[NewVariant], seeds: Sequence[int]) -> list[int]:
    """Numbers of the new variants, each with a waiting run for each seed."""
    mine = (StudyVariantRow.tenant_id == study.tenant_id, StudyVariantRow.study_id == study.id)
    last = session.scalar(select(func.max(StudyVariantRow.number)).where(*mine)) or 0
    numbers = list(range(last + 1, last + 1 + len(variants)))
    common = {"study_id": study.id, "tenant_id": study.tenant_id}
    session.add_all(
        StudyVariantRow(
            **common,
            number=number,
            name=new.name,
            architecture=new.architecture,
            body=new.body,
            spec=new.spec,
            levels=new.levels,
            starts_from=new.starts_from,
            donor=new.donor,
            search=new.search,
            created_at=utc_now(),
        )
        for number, new in zip(numbers, variants, strict=True)
    )
    session.flush()
    add_runs(session, study, numbers, seeds)
    return numbers


def add_runs(session: Session, study: StudyRow, numbers: Sequence[int], seeds: Sequence[int]) -> None:
    """A waiting run for each of these variants with each of the seeds, where there is none yet."""
    mine = (StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
    there = {
        (variant, seed) for variant, seed in session.execute(select(StudyRunRow.variant, StudyRunRow.seed).where(*mine))
    }
    session.add_all(
        StudyRunRow(
            study_id=study.id,
            variant=number,
            seed=seed,
            tenant_id=study.tenant_id,
            turn=place * TURNS_A_SEED + number,
            reused=False,
            paused=False,
        )
        for place, seed in enumerate(seeds)
        for number in numbers
        if (number, seed) not in there
    )
    session.flush()


def get_study(session: Session, tenant: str, study_id: str) -> StudyRow:
    """Raises StudyNotFound."""
    row = session.scalars(select(StudyRow).where(StudyRow.tenant_id == tenant, StudyRow.id == study_id)).one_or_none()
    if row is None:
        raise StudyNotFound(study_id)
    return row


def list_studies(
    session: Session,
    tenant: str,
    state: StudyState | None,
    *,
    limit: int,
    after: Position | None,
    descending: bool,
) -> Sequence[StudyRow]:
    """Up to `limit` studies by (created_at, id), from the position on."""
    query = select(StudyRow).where(StudyRow.tenant_id == tenant)
    if state is not None:
        query = query.where(StudyRow.state == state)
    keys = (StudyRow.created_at, StudyRow.id)
    if after is not None:
        query = query.where(beyond(*keys, after, descending=descending))
    return session.scalars(query.order_by(*(key.desc() if descending else key for key in keys)).limit(limit)).all()


def list_variants(session: Session, study: StudyRow) -> Sequence[StudyVariantRow]:
    """All of them, by number."""
    mine = (StudyVariantRow.tenant_id == study.tenant_id, StudyVariantRow.study_id == study.id)
    return session.scalars(select(StudyVariantRow).where(*mine).order_by(StudyVariantRow.number)).all()


def extend_study(
    session: Session, study: StudyRow, spec: dict[str, Any], variants: Sequence[NewVariant], seeds: Sequence[int]
) -> None:
    """More variants, more seeds, or both, for a study that the caller holds (`lock_study`). One that had ended goes on.

    Raises InvalidTransition for a cancelled one.
    """
    if study.state == StudyState.CANCELLED:
        raise InvalidTransition("the study was cancelled; submit it again")
    study.spec = spec
    add_variants(session, study, variants, seeds)
    add_runs(session, study, [row.number for row in list_variants(session, study)], seeds)
    study.progress = count_runs(session, study)
    if StudyState(study.state).terminal:
        study.state, study.detail, study.finished_at = StudyState.RUNNING, None, None
    session.flush()
    announce_study(session, study, "extended", actor="client")
    session.refresh(study)


def pause_study(session: Session, tenant: str, study_id: str) -> StudyRow:
    """Nothing more is started, and its running jobs pause after their epochs. Pausing twice is harmless.

    Raises StudyNotFound, InvalidTransition.
    """
    study = lock_study(session, tenant, study_id)
    if study.state == StudyState.PAUSED:
        return study
    if StudyState(study.state).terminal:
        raise InvalidTransition(f"the study is {study.state} and cannot be paused")
    for run, job in _unfinished(session, study):
        if State(job.state) in (State.QUEUED, State.RUNNING):
            request_pause(session, tenant, job.id)
            run.paused = True
    return _move(session, study, StudyState.PAUSED, "paused")


def resume_study(session: Session, tenant: str, study_id: str) -> StudyRow:
    """Goes on where a pause stopped it. Resuming one that is not paused is harmless.

    Raises StudyNotFound, InvalidTransition.
    """
    study = lock_study(session, tenant, study_id)
    if StudyState(study.state).terminal:
        raise InvalidTransition(f"the study is {study.state} and cannot be resumed")
    if study.state != StudyState.PAUSED:
        return study
    resume_paused(session, study)  # one that is still pausing is resumed by a worker, once it has paused
    return _move(session, study, StudyState.RUNNING if study.started_at else StudyState.QUEUED, "resumed")


def cancel_study(session: Session, tenant: str, study_id: str) -> StudyRow:
    """Ends the study and cancels its jobs that have not ended; what has been trained stays. Cancelling twice is harmless.

    Raises StudyNotFound, InvalidTransition.
    """
    study = lock_study(session, tenant, study_id)
    if study.state == StudyState.CANCELLED:
        return study
    if StudyState(study.state).terminal:
        raise InvalidTransition(f"the study is {study.state} and cannot be cancelled")
    for _, job in _unfinished(session, study):
        request_cancel(session, tenant, job.id)
    study.finished_at = utc_now()
    return _move(session, study, StudyState.CANCELLED, "cancelled")


def lock_study(session: Session, tenant: str, study_id: str) -> StudyRow:
    """For writing. Raises StudyNotFound."""
    query = select(StudyRow).where(StudyRow.tenant_id == tenant, StudyRow.id == study_id)
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is None:
        raise StudyNotFound(study_id)
    return row


def announce_study(session: Session, study: StudyRow, cause: str, actor: str) -> None:
    """An event of its state."""
    data = {"state": study.state, "detail": study.detail, "actor": actor, "cause": cause}
    append_study_event(session, study.tenant_id, study.id, "state", data)


def _unfinished(session: Session, study: StudyRow) -> Sequence[tuple[StudyRunRow, JobRow]]:
    """Its own jobs that have not ended: reused ones had."""
    found = session.execute(
        select(StudyRunRow, JobRow)
        .join(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
        .where(StudyRunRow.reused.is_(False), JobRow.state.not_in(ENDED))
    )
    return [(run, job) for run, job in found]


def _move(session: Session, study: StudyRow, state: StudyState, cause: str) -> StudyRow:
    study.state = state
    study.progress = count_runs(session, study)
    session.flush()
    announce_study(session, study, cause, actor="client")
    session.refresh(study)
    return study
