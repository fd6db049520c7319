"""Claiming jobs by lease, and taking them back from holders that are gone.

A claim is one conditional update that takes a lease and the next attempt number, which is the fencing token of
attempts.py. Leases count on the database's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Row, and_, case, or_, select, update
from sqlalchemy.orm import Session

from core.database import database_now
from core.dataset_content import StoredDataset
from core.donors import Donor, Wanted, wanted_weights
from core.faults import validation_faults
from core.jobspec import JobSpec
from core.queues import MOST_DEVICES, Queue
from core.repositories.attempts import LEASE_SECONDS, Attempt, after_loss, announce, move_job, owned_by
from core.repositories.checkpoints import Checkpoint, list_checkpoints
from core.repositories.datasets import stored_dataset
from core.repositories.donors import find_donor
from core.repositories.events import append_event
from core.states import HELD, DatasetState, Reason, State
from core.tables import AttemptRow, DatasetRow, JobRow, utc_now


@dataclass(frozen=True)
class Holder:
    """The worker process that claims: enough to tell later whether it still lives."""

    worker: str
    boot_id: str
    pid: int
    process_started: float


@dataclass(frozen=True)
class Claim:
    """A job just claimed."""

    attempt: Attempt
    spec: dict[str, Any]
    dataset: StoredDataset
    checkpoints: list[Checkpoint]
    """newest first"""
    donor: Donor | None
    """whose weights the job starts with"""
    request_id: str | None
    seconds_left: float | None
    """until timeout_seconds runs out; None without a time limit"""


@dataclass(frozen=True)
class Capacity:
    """What a worker can take: jobs of these queues (None: those that any worker may take), and on how many devices."""

    queues: frozenset[Queue | None]
    devices: int
    free_devices: int

    def takes(self) -> ColumnElement[bool]:
        bound = JobRow.queue.in_([queue for queue in self.queues if queue is not None])
        served = or_(bound, JobRow.queue.is_(None)) if None in self.queues else bound
        return and_(served, JobRow.devices <= self.devices)


ANYTHING = Capacity(frozenset({None, "cpu", "gpu"}), MOST_DEVICES, MOST_DEVICES)


def claim_next(session: Session, holder: Holder, capacity: Capacity = ANYTHING) -> Claim | None:
    """Claims the most urgent queued job that the worker can take and whose dataset is ready, or None.

    While that job waits for more devices than are free, nothing less urgent is claimed: else it might wait for ever.
    A job that this version cannot read is ended on the way. The caller commits before it starts anything.
    """
    while True:
        found = _most_urgent(session, capacity)
        if found is None or found[0].devices > capacity.free_devices:
            return None
        row, dataset = found
        try:
            wanted = wanted_weights(JobSpec.model_validate(row.spec))
            stored = stored_dataset(dataset)
        except ValidationError as error:
            _end_unreadable(session, row, dataset, error)
            continue
        return _claim(session, row, stored, wanted, holder)


def _most_urgent(session: Session, capacity: Capacity) -> Row[JobRow, DatasetRow] | None:
    return session.execute(
        select(JobRow, DatasetRow)
        .join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
        .where(_waiting(capacity))
        .order_by(JobRow.priority.desc(), JobRow.created_at, JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=JobRow)
    ).one_or_none()


def _end_unreadable(session: Session, row: JobRow, dataset: DatasetRow, error: ValidationError) -> None:
    """Every worker that claimed the job would stumble over it, so it must not stay queued."""
    what, body = ("spec", row.spec) if error.title == JobSpec.__name__ else ("dataset", dataset.content)
    fault = validation_faults(error, body)[0]
    row.state = State.FAILED
    row.reason = Reason.INTERNAL_ERROR
    row.detail = (
        f"this version of the service cannot read the job's {what} ({fault.pointer} {fault.detail}); submit the job anew, or "
        "retry it once every worker has the version and the architectures that accepted it"
    )
    row.finished_at = utc_now()
    session.flush()
    data = {"state": State.FAILED, "reason": row.reason, "detail": row.detail}
    append_event(session, row.tenant_id, row.id, "state", {**data, "actor": "worker", "cause": "unreadable"})


def _claim(
    session: Session, row: JobRow, dataset: StoredDataset, wanted: Wanted | None, holder: Holder
) -> Claim | None:
    """None where somebody else was quicker."""
    attempt = Attempt(row.tenant_id, row.id, row.attempt + 1)
    timeout = row.spec["timeout_seconds"]
    claimed = session.execute(
        update(JobRow)
        .where(JobRow.id == row.id, JobRow.state == State.QUEUED, JobRow.attempt == row.attempt)
        .values(
            state=State.RUNNING,
            detail=None,
            progress={**row.progress, "step": 0, "eta_seconds": None},
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
    session.add(_attempt_row(attempt, holder))
    announce(
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
    checkpoints = list_checkpoints(session, attempt.tenant, attempt.job_id)
    donor = find_donor(session, attempt.tenant, wanted) if wanted is not None else None
    return Claim(attempt, row.spec, dataset, checkpoints, donor, row.request_id, claimed[0])


def count_waiting(session: Session, capacity: Capacity, most: int) -> int:
    """How many queued jobs the worker could take, counted up to `most`."""
    jobs = select(JobRow.id).join(DatasetRow, DatasetRow.id == JobRow.dataset_id).where(_waiting(capacity)).limit(most)
    return len(session.scalars(jobs).all())


def _waiting(capacity: Capacity) -> ColumnElement[bool]:
    return and_(JobRow.state == State.QUEUED, DatasetRow.state == DatasetState.READY, capacity.takes())


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
    query = select(JobRow).where(owned_by(attempt))
    if if_expired:
        query = query.where(JobRow.lease_expires_at < database_now())
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is not None:
        ending = after_loss(session, row, attempt, Reason.WORKER_LOST, detail)
        move_job(session, row, attempt, ending, actor="reconciler")


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
