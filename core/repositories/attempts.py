"""Writing as the attempt that owns a job: every write names its fencing token, and one that matches no row raises
FencedOut. Leases count on the database's clock; claims.py says how an attempt comes to own a job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from core.database import database_now
from core.errors import FencedOut
from core.repositories.events import append_event
from core.states import HELD, Reason, State
from core.tables import AttemptRow, EpochRow, JobRow, utc_now

LEASE_SECONDS = 30.0


@dataclass(frozen=True)
class Attempt:
    """An attempt's identity and fencing token: what every write of it must name."""

    tenant: str
    job_id: str
    number: int


@dataclass(frozen=True)
class Ending:
    """How an attempt ends: the job's next state, and why. `outcome` is for the attempt's own row."""

    state: State
    outcome: str
    reason: Reason | None = None
    detail: str | None = None
    counts_as_failure: bool = True


def renew_lease(session: Session, attempt: Attempt) -> State:
    """Extends the lease and tells the job's state, so that the holder notices a cancel. Raises FencedOut."""
    state = session.execute(
        update(JobRow)
        .where(owned_by(attempt))
        .values(lease_expires_at=database_now() + LEASE_SECONDS)
        .returning(JobRow.state)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if state is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    return State(state)


@dataclass(frozen=True)
class Standing:
    """How a job stands, as the worker that runs it needs to know."""

    state: State
    keep_best: bool
    progress: dict[str, Any]


def current_standing(session: Session, attempt: Attempt) -> Standing:
    """While no other attempt owns the job: its state may be one in which this attempt has ended it.

    Raises FencedOut when the job was taken from this attempt.
    """
    found = session.execute(
        select(JobRow.state, JobRow.keep_best, JobRow.progress).where(_newest(attempt))
    ).one_or_none()
    if found is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    state, keep_best, progress = found
    return Standing(State(state), keep_best, progress)


def write_job(session: Session, attempt: Attempt, **values: Any) -> State:
    """Changes columns of the job as the attempt that owns it, and tells its state. Raises FencedOut.

    Takes the row's lock, so whatever else the transaction writes is fenced with it.
    """
    state = session.execute(
        update(JobRow)
        .where(owned_by(attempt))
        .values(revision=JobRow.revision + 1, **values)
        .returning(JobRow.state)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if state is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    return State(state)


def add_warning(session: Session, attempt: Attempt, warning: dict[str, Any]) -> None:
    """Adds a warning to the job, once per code: {"code", "detail"} and what else it tells. Raises FencedOut."""
    write_job(session, attempt)
    warnings = session.scalars(select(JobRow.warnings).where(owned_by(attempt))).one()
    if any(earlier["code"] == warning["code"] for earlier in warnings):
        return
    write_job(session, attempt, warnings=[*warnings, warning])
    append_event(session, attempt.tenant, attempt.job_id, "warning", warning)


def append_log(session: Session, attempt: Attempt, text: str) -> None:
    """Adds what the trainer printed, its last words after the job's end included. Raises FencedOut."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL cannot store it
    current_standing(session, attempt)
    append_event(session, attempt.tenant, attempt.job_id, "log", {"attempt": attempt.number, "text": text})


def record_environment(session: Session, attempt: Attempt, environment: dict[str, Any]) -> None:
    """Stores what the attempt runs with: versions, hardware, threads, dataset digest. Raises FencedOut."""
    write_job(session, attempt)
    session.execute(update(AttemptRow).where(_is(attempt)).values(environment=environment))


def end_attempt(session: Session, attempt: Attempt, ending: Ending) -> State:
    """Moves the job on and closes the attempt. Returns the job's state. Raises FencedOut.

    A job that somebody wants cancelled or paused is not queued again, whatever the ending says.
    """
    row = session.scalars(select(JobRow).where(owned_by(attempt)).with_for_update()).one_or_none()
    if row is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    if ending.state is State.CANCELLED or not State(row.state).may_become(ending.state):
        ending = as_wanted(row, ending.outcome) or ending
    move_job(session, row, attempt, ending, actor="worker")
    return ending.state


PAUSED = Ending(State.PAUSED, outcome="paused", counts_as_failure=False)


def pause_attempt(session: Session, attempt: Attempt) -> State:
    """Ends an attempt that was asked to pause. Returns the job's state. Raises FencedOut.

    It stays CANCELLING, and the attempt goes on, where somebody has cancelled meanwhile and wants the best epoch kept.
    """
    state = write_job(session, attempt)
    if state is State.CANCELLING and current_standing(session, attempt).keep_best:
        return state
    return end_attempt(session, attempt, PAUSED)


def as_wanted(row: JobRow, outcome: str) -> Ending | None:
    """The ending that somebody asked for, by cancelling or pausing the job; None where nobody did."""
    if row.state == State.CANCELLING:
        reason, detail = Reason(row.reason or Reason.USER_CANCELLED), row.detail
        return Ending(State.CANCELLED, outcome=outcome, reason=reason, detail=detail, counts_as_failure=False)
    if row.state == State.PAUSING:
        return Ending(State.PAUSED, outcome=outcome, counts_as_failure=False)
    return None


def after_loss(
    session: Session, row: JobRow, attempt: Attempt, reason: Reason, detail: str, most_tries: int | None = None
) -> Ending:
    """What follows when an attempt ended without a result: what somebody asked for, else another try or FAILED.

    The spec's max_attempts limits consecutive attempts that finished no epoch; `most_tries` limits all that were lost.
    """
    wanted = as_wanted(row, "lost")
    if wanted is not None:
        return wanted
    mine = (EpochRow.tenant_id == attempt.tenant, EpochRow.job_id == attempt.job_id, EpochRow.attempt == attempt.number)
    fruitful = session.scalar(select(EpochRow.epoch).where(*mine).limit(1)) is not None
    most = int(row.spec["max_attempts"])
    if row.fruitless_attempts + int(not fruitful) >= most:
        given_up: str | None = f"gave up after {most} attempts without a finished epoch"
    else:
        given_up = None if most_tries is None else _tried_often(session, attempt, most_tries)
    if given_up is not None:
        return Ending(State.FAILED, outcome="lost", reason=reason, detail=f"{detail}; {given_up}")
    detail = f"{detail}; waiting to be tried again"
    return Ending(State.QUEUED, outcome="lost", detail=detail, counts_as_failure=not fruitful)


def _tried_often(session: Session, attempt: Attempt, most_tries: int) -> str | None:
    earlier = (
        AttemptRow.tenant_id == attempt.tenant,
        AttemptRow.job_id == attempt.job_id,
        AttemptRow.outcome == "lost",
    )
    lost = 1 + (session.scalar(select(func.count()).select_from(AttemptRow).where(*earlier)) or 0)
    return f"not tried more than {most_tries} time{'s' if most_tries > 1 else ''}" if lost >= most_tries else None


def lose_attempt(
    session: Session, attempt: Attempt, reason: Reason, detail: str, most_tries: int | None = None
) -> State:
    """Ends an attempt whose trainer died. Returns the job's state. Raises FencedOut."""
    row = session.scalars(select(JobRow).where(owned_by(attempt)).with_for_update()).one_or_none()
    if row is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    ending = after_loss(session, row, attempt, reason, detail, most_tries)
    move_job(session, row, attempt, ending, actor="worker")
    return ending.state


def move_job(session: Session, row: JobRow, attempt: Attempt, ending: Ending, actor: str) -> None:
    fruitless = row.fruitless_attempts + 1 if ending.counts_as_failure else row.fruitless_attempts
    row.state = ending.state
    row.reason = ending.reason
    row.detail = ending.detail
    row.fruitless_attempts = fruitless
    row.lease_expires_at = None
    if ending.state.terminal:
        row.finished_at = utc_now()
    session.flush()
    session.execute(
        update(AttemptRow).where(_is(attempt)).values(outcome=ending.outcome, detail=ending.detail, ended_at=utc_now())
    )
    data = {"state": ending.state, "reason": ending.reason, "detail": ending.detail, "attempt": attempt.number}
    announce(session, attempt, {**data, "actor": actor, "cause": ending.outcome})


def announce(session: Session, attempt: Attempt, data: dict[str, Any]) -> None:
    append_event(session, attempt.tenant, attempt.job_id, "state", data)


def owned_by(attempt: Attempt) -> Any:
    return and_(
        JobRow.tenant_id == attempt.tenant,
        JobRow.id == attempt.job_id,
        JobRow.attempt == attempt.number,
        JobRow.state.in_(HELD),
    )


def _newest(attempt: Attempt) -> Any:
    """The job, unless it waits for its next attempt or has one."""
    return and_(
        JobRow.tenant_id == attempt.tenant,
        JobRow.id == attempt.job_id,
        JobRow.attempt == attempt.number,
        JobRow.state != State.QUEUED,
    )


def _is(attempt: Attempt) -> Any:
    return and_(
        AttemptRow.tenant_id == attempt.tenant,
        AttemptRow.job_id == attempt.job_id,
        AttemptRow.number == attempt.number,
    )
