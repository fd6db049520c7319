"""What clients may ask of a job: cancel, pause, resume, another try. Every move is an event with its actor."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import InvalidTransition, JobNotFound
from core.repositories.checkpoints import forget_checkpoints
from core.repositories.epochs import delete_epochs
from core.repositories.events import append_event
from core.states import HELD, Reason, State
from core.tables import JobRow, utc_now


def request_cancel(session: Session, tenant: str, job_id: str, *, keep_best: bool = False) -> JobRow:
    """A waiting job ends at once; a running one is asked to, with or without publishing its best epoch.

    Cancelling twice is harmless; the second time without `keep_best` gives the best epoch up.
    Raises JobNotFound, and InvalidTransition when the job has ended otherwise or has nothing to keep.
    """
    row = _locked(session, tenant, job_id)
    state = State(row.state)
    if state is State.CANCELLED:
        return row
    if state is State.CANCELLING:
        row.keep_best = row.keep_best and keep_best
        session.flush()
        return row
    target = State.CANCELLING if state in HELD else State.CANCELLED
    if state is State.FAILED or not state.may_become(target):
        raise InvalidTransition(f"the job is {state} and cannot be cancelled")
    if keep_best and target is State.CANCELLED:
        raise InvalidTransition(f"the job is {state}: only a running one can publish its best epoch; resume it first")
    row.keep_best = keep_best
    row.reason = Reason.USER_CANCELLED
    if target is State.CANCELLED:
        row.finished_at = utc_now()
    return _move(session, row, target, "cancelled, best kept" if keep_best else "cancelled")


def prune_job(session: Session, tenant: str, job_id: str, detail: str) -> None:
    """Ends a job of a study whose trial is not worth going on; its epochs stay. One that is about to end does so by itself.

    Raises JobNotFound.
    """
    row = _locked(session, tenant, job_id)
    target = State.CANCELLING if row.state in HELD else State.CANCELLED
    if row.state == State.CANCELLING or not State(row.state).may_become(target):
        return
    row.keep_best = False
    row.reason, row.detail = Reason.PRUNED, detail
    if target is State.CANCELLED:
        row.finished_at = utc_now()
    _move(session, row, target, "pruned", actor="worker")


def request_pause(session: Session, tenant: str, job_id: str) -> JobRow:
    """A queued job pauses at once, a running one after the epoch that it is in. Pausing twice is harmless.

    Raises JobNotFound, InvalidTransition.
    """
    row = _locked(session, tenant, job_id)
    state = State(row.state)
    if state in (State.PAUSING, State.PAUSED):
        return row
    target = State.PAUSING if state is State.RUNNING else State.PAUSED
    if not state.may_become(target):
        raise InvalidTransition(f"the job is {state} and cannot be paused")
    return _move(session, row, target, "paused")


def request_resume(session: Session, tenant: str, job_id: str) -> JobRow:
    """A paused job is queued again and goes on from its checkpoint. Resuming one that waits or runs is harmless.

    Raises JobNotFound, and InvalidTransition for one that is still pausing or has ended.
    """
    row = _locked(session, tenant, job_id)
    state = State(row.state)
    if state in (State.QUEUED, State.RUNNING):
        return row
    if state is not State.PAUSED:
        hint = "; it will be PAUSED after its epoch" if state is State.PAUSING else ""
        raise InvalidTransition(f"the job is {state} and cannot be resumed{hint}")
    return _move(session, row, State.QUEUED, "resumed")


def request_retry(session: Session, tenant: str, job_id: str, start: Literal["checkpoint", "scratch"]) -> JobRow:
    """A job that ended without a model is queued again, to go on from its checkpoint or from the first epoch.

    Raises JobNotFound, InvalidTransition.
    """
    row = _locked(session, tenant, job_id)
    state = State(row.state)
    if state not in (State.FAILED, State.CANCELLED):
        raise InvalidTransition(f"the job is {state}; only one that failed or was cancelled can be tried again")
    if row.model_version is not None:
        raise InvalidTransition("the job has published a model; submit it again for another")
    if row.dataset_id is None:
        raise InvalidTransition("the job's dataset was deleted; register it and submit the job again")
    if start == "scratch":
        delete_epochs(session, tenant, job_id)
        forget_checkpoints(session, tenant, job_id)
        row.best_epoch = None
        row.progress = {**row.progress, "epoch": 0}
    row.progress = {**row.progress, "step": 0, "eta_seconds": None}
    row.fruitless_attempts = 0
    row.keep_best = False
    row.reason = row.detail = row.finished_at = row.deadline = None
    return _move(session, row, State.QUEUED, f"tried again from {start}")


def _locked(session: Session, tenant: str, job_id: str) -> JobRow:
    query = select(JobRow).where(JobRow.tenant_id == tenant, JobRow.id == job_id)
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is None:
        raise JobNotFound(job_id)
    return row


def _move(session: Session, row: JobRow, state: State, cause: str, actor: str = "client") -> JobRow:
    row.state = state
    session.flush()
    data: dict[str, Any] = {"state": state, "reason": row.reason, "actor": actor, "cause": cause}
    append_event(session, row.tenant_id, row.id, "state", data)
    session.refresh(row)
    return row
