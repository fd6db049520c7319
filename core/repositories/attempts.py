"""Claiming jobs, holding them by lease, and writing as the attempt that owns one.

A claim is one conditional update that takes a lease and the next attempt number, which is the fencing token: every
later write names it, and a write that matches no row raises FencedOut. Leases count on the database's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, select, update
from sqlalchemy.orm import Session

from core.database import database_now
from core.dataset_content import StoredDataset
from core.errors import FencedOut
from core.repositories.datasets import stored_dataset
from core.repositories.epochs import delete_epochs
from core.repositories.events import append_event
from core.states import HELD, DatasetState, Reason, State
from core.tables import AttemptRow, DatasetRow, JobRow, utc_now

LEASE_SECONDS = 30.0


@dataclass(frozen=True)
class Holder:
    """The worker process that claims: enough to tell later whether it still lives."""

    worker: str
    boot_id: str
    pid: int
    process_started: float


@dataclass(frozen=True)
class Attempt:
    """An attempt's identity and fencing token: what every write of it must name."""

    tenant: str
    job_id: str
    number: int


@dataclass(frozen=True)
class Claim:
    """A job just claimed."""

    attempt: Attempt
    spec: dict[str, Any]
    dataset: StoredDataset
    request_id: str | None
    seconds_left: float | None
    """until timeout_seconds runs out; None without a time limit"""


@dataclass(frozen=True)
class Ending:
    """How an attempt ends: the job's next state, and why. `outcome` is for the attempt's own row."""

    state: State
    outcome: str
    reason: Reason | None = None
    detail: str | None = None
    counts_as_failure: bool = True


def claim_next(session: Session, holder: Holder) -> Claim | None:
    """Claims the most urgent queued job whose dataset is ready, or None. The caller commits before it starts anything."""
    found = session.execute(
        select(JobRow, DatasetRow)
        .join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
        .where(JobRow.state == State.QUEUED, DatasetRow.state == DatasetState.READY)
        .order_by(JobRow.priority.desc(), JobRow.created_at, JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=JobRow)
    ).one_or_none()
    if found is None:
        return None
    row, dataset = found
    attempt = Attempt(row.tenant_id, row.id, row.attempt + 1)
    timeout = row.spec["timeout_seconds"]
    claimed = session.execute(
        update(JobRow)
        .where(JobRow.id == row.id, JobRow.state == State.QUEUED, JobRow.attempt == row.attempt)
        .values(
            state=State.RUNNING,
            detail=None,
            best_epoch=None,
            progress={**row.progress, "epoch": 0, "step": 0, "eta_seconds": None},
            attempt=attempt.number,
            lease_expires_at=database_now() + LEASE_SECONDS,
            deadline=case((JobRow.deadline.is_not(None), JobRow.deadline), else_=database_now() + timeout)
            if timeout
            else None,
            started_at=row.started_at or utc_now(),
        )
        .returning(JobRow.deadline - database_now())
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if claimed is None:
        return None
    # There are no checkpoints yet: an attempt starts from epoch 1, so what an earlier one wrote goes.
    delete_epochs(session, attempt.tenant, attempt.job_id)
    session.add(_attempt_row(attempt, holder))
    _announce(
        session,
        attempt,
        {
            "state": State.RUNNING,
            "attempt": attempt.number,
            "actor": "worker",
            "cause": "claimed",
            "worker": holder.worker,
        },
    )
    return Claim(attempt, row.spec, stored_dataset(dataset), row.request_id, claimed[0])


def renew_lease(session: Session, attempt: Attempt) -> State:
    """Extends the lease and tells the job's state, so that the holder notices a cancel. Raises FencedOut."""
    state = session.execute(
        update(JobRow)
        .where(_owned(attempt))
        .values(lease_expires_at=database_now() + LEASE_SECONDS)
        .returning(JobRow.state)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if state is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    return State(state)


def current_state(session: Session, attempt: Attempt) -> State:
    """The state of the job, while no other attempt owns it: a terminal one once this attempt has ended it.

    Raises FencedOut when the job was taken from this attempt.
    """
    state = session.scalar(select(JobRow.state).where(_newest(attempt)))
    if state is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    return State(state)


def write_job(session: Session, attempt: Attempt, **values: Any) -> None:
    """Changes columns of the job as the attempt that owns it. Raises FencedOut.

    Takes the row's lock, so whatever else the transaction writes is fenced with it.
    """
    matched = session.execute(
        update(JobRow)
        .where(_owned(attempt))
        .values(revision=JobRow.revision + 1, **values)
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if matched is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)


def add_warning(session: Session, attempt: Attempt, code: str, detail: str) -> None:
    """Adds a warning to the job, once per code. Raises FencedOut."""
    write_job(session, attempt)
    warnings = session.scalars(select(JobRow.warnings).where(_owned(attempt))).one()
    if any(warning["code"] == code for warning in warnings):
        return
    warning = {"code": code, "detail": detail}
    write_job(session, attempt, warnings=[*warnings, warning])
    append_event(session, attempt.tenant, attempt.job_id, "warning", warning)


def append_log(session: Session, attempt: Attempt, text: str) -> None:
    """Adds what the trainer printed, its last words after the job's end included. Raises FencedOut."""
    current_state(session, attempt)
    append_event(session, attempt.tenant, attempt.job_id, "log", {"attempt": attempt.number, "text": text})


def record_environment(session: Session, attempt: Attempt, environment: dict[str, Any]) -> None:
    """Stores what the attempt runs with: versions, hardware, threads, dataset digest. Raises FencedOut."""
    write_job(session, attempt)
    session.execute(update(AttemptRow).where(_is(attempt)).values(environment=environment))


def end_attempt(session: Session, attempt: Attempt, ending: Ending) -> State:
    """Moves the job on and closes the attempt. Returns the job's state. Raises FencedOut.

    A job that somebody wants cancelled is not queued again, whatever the ending says.
    """
    row = session.scalars(select(JobRow).where(_owned(attempt)).with_for_update()).one_or_none()
    if row is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    if not State(row.state).may_become(ending.state):
        ending = Ending(State.CANCELLED, outcome=ending.outcome, reason=Reason.USER_CANCELLED)
    _move(session, row, attempt, ending, actor="worker")
    return ending.state


def expired_attempts(session: Session, limit: int = 20) -> Sequence[Attempt]:
    """Attempts whose lease has run out."""
    rows = session.scalars(
        select(JobRow).where(JobRow.state.in_(HELD), JobRow.lease_expires_at < database_now()).limit(limit)
    )
    return [Attempt(row.tenant_id, row.id, row.attempt) for row in rows]


def attempts_on_host(session: Session, boot_id: str) -> Sequence[tuple[Attempt, Holder]]:
    """Attempts that hold a job from a process of this host since its last boot."""
    rows = session.scalars(
        select(AttemptRow)
        .join(JobRow, and_(JobRow.id == AttemptRow.job_id, JobRow.attempt == AttemptRow.number))
        .where(JobRow.state.in_(HELD), AttemptRow.boot_id == boot_id)
    )
    return [
        (
            Attempt(row.tenant_id, row.job_id, row.number),
            Holder(row.worker, row.boot_id, row.pid, row.process_started),
        )
        for row in rows
    ]


def release_lost(session: Session, attempt: Attempt, detail: str, *, if_expired: bool = False) -> None:
    """Takes the job from an attempt whose holder is gone: queued again, or ended when that was the last try.

    Harmless when the attempt has ended meanwhile or, with `if_expired`, when its lease was renewed.
    """
    query = select(JobRow).where(_owned(attempt))
    if if_expired:
        query = query.where(JobRow.lease_expires_at < database_now())
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is not None:
        ending = after_loss(row.spec["max_attempts"], row, Reason.WORKER_LOST, detail)
        _move(session, row, attempt, ending, actor="reconciler")


def after_loss(max_attempts: int, row: JobRow, reason: Reason, detail: str) -> Ending:
    """What follows when an attempt ended without a result: cancelled if that was asked, else another try or FAILED."""
    if row.state == State.CANCELLING:
        return Ending(State.CANCELLED, outcome="lost", reason=Reason.USER_CANCELLED)
    if row.fruitless_attempts + 1 >= max_attempts:
        return Ending(
            State.FAILED,
            outcome="lost",
            reason=reason,
            detail=f"{detail}; gave up after {max_attempts} attempts",
        )
    return Ending(State.QUEUED, outcome="lost", detail=f"{detail}; waiting to be tried again")


def lose_attempt(
    session: Session, attempt: Attempt, reason: Reason, detail: str, most_tries: int | None = None
) -> State:
    """Ends an attempt whose trainer died. `most_tries` lowers the spec's max_attempts. Raises FencedOut."""
    row = session.scalars(select(JobRow).where(_owned(attempt)).with_for_update()).one_or_none()
    if row is None:
        raise FencedOut(f"job {attempt.job_id}", attempt.number)
    limit = int(row.spec["max_attempts"])
    ending = after_loss(limit if most_tries is None else min(limit, most_tries), row, reason, detail)
    _move(session, row, attempt, ending, actor="worker")
    return ending.state


def _move(session: Session, row: JobRow, attempt: Attempt, ending: Ending, actor: str) -> None:
    # While attempts start from epoch 1, the epochs of one that died are lost with it: each counts against the job.
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
    _announce(session, attempt, {**data, "actor": actor, "cause": ending.outcome})


def _announce(session: Session, attempt: Attempt, data: dict[str, Any]) -> None:
    append_event(session, attempt.tenant, attempt.job_id, "state", data)


def _attempt_row(attempt: Attempt, holder: Holder) -> AttemptRow:
    return AttemptRow(
        job_id=attempt.job_id,
        number=attempt.number,
        tenant_id=attempt.tenant,
        worker=holder.worker,
        boot_id=holder.boot_id,
        pid=holder.pid,
        process_started=holder.process_started,
        started_at=utc_now(),
    )


def _owned(attempt: Attempt) -> Any:
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
