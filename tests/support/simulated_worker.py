"""A worker whose every durable step is taken when a test says so: a supervisor and its trainer without processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import rows
from job_model import ExpectedJob
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.repositories.attempts import Attempt, Ending, current_standing, end_attempt, pause_attempt
from core.repositories.checkpoints import Checkpoint
from core.repositories.claims import Claim, Holder
from core.repositories.results import (
    KEPT_BEST,
    SUCCESS,
    Publication,
    Recorded,
    StoredArtifact,
    finish_job,
    record_epoch,
)
from core.repositories.resumption import begin_training
from core.states import Reason, State

CANCELLED = Ending(State.CANCELLED, outcome="cancelled", reason=Reason.USER_CANCELLED, counts_as_failure=False)
FAILED = Ending(State.FAILED, outcome="failed", reason=Reason.INTERNAL_ERROR, detail="it said so")

Commit = Callable[[Attempt, Callable[[Session, Attempt], Any], Callable[[ExpectedJob], None]], Any]
"""Does a transaction of an attempt, and its effect on what is expected of the job. Raises FencedOut."""


@dataclass
class SimulatedWorker:
    holder: Holder
    alive: bool = True
    attempt: Attempt | None = None
    trainer: Iterator[None] | None = None
    """each step of it is durable; None once it has ended, or was killed"""

    @property
    def idle(self) -> bool:
        return self.alive and self.attempt is None

    @property
    def busy(self) -> bool:
        return self.alive and self.attempt is not None

    @property
    def training(self) -> bool:
        return self.alive and self.trainer is not None


def train(claim: Claim, store: ArtifactStore, commit: Commit, accuracy: float) -> Iterator[None]:
    """As worker/training.py does, with a file of a few bytes for each epoch's state. Raises FencedOut."""
    attempt, wanted = claim.attempt, claim.spec["epochs"]
    done = next((each.epoch for each in claim.checkpoints if store.matches(each.path, each.sha256)), 0)
    commit(attempt, lambda session, own: begin_training(session, own, done, None, ()), lambda job: job.begin(done))
    yield
    state = State.RUNNING
    for number in range(done + 1, wanted + 1):
        stored = store.put(f"checkpoints/{attempt.job_id}/{attempt.number}-{number}", b"state")
        yield
        recorded = _record(commit, attempt, Checkpoint(number, stored.path, stored.sha256, stored.bytes))
        yield
        for path in recorded.obsolete:
            store.delete(path)
        state = recorded.state
        if state is State.CANCELLING:
            break
        if state is State.PAUSING and number < wanted:
            yield
            state = commit(attempt, pause_attempt, _pause)
            if state is not State.CANCELLING:
                return
            break
    yield
    cancelled = state is State.CANCELLING
    if cancelled and not commit(attempt, current_standing, lambda job: None).keep_best:
        commit(attempt, lambda session, own: end_attempt(session, own, CANCELLED), _cancel)
        return
    yield
    yield from _publish(attempt, store, commit, accuracy, cancelled=cancelled)


def _record(commit: Commit, attempt: Attempt, checkpoint: Checkpoint) -> Recorded:
    number = checkpoint.epoch

    def work(session: Session, own: Attempt) -> Recorded:
        return record_epoch(session, own, rows.epoch(number), {"epoch": number}, best=True, checkpoint=checkpoint)

    recorded: Recorded = commit(attempt, work, lambda job: job.record(number))
    return recorded


def _publish(
    attempt: Attempt, store: ArtifactStore, commit: Commit, accuracy: float, *, cancelled: bool
) -> Iterator[None]:
    folder = f"{attempt.tenant}/{attempt.job_id}/{attempt.number}"
    stored, lent = store.put(f"{folder}/model.onnx", b"model"), store.put(f"{folder}/weights", b"weights")
    yield
    made = rows.publication(val_accuracy=accuracy)
    artifact = StoredArtifact("onnx", stored.path, stored.sha256, stored.bytes)
    weights = StoredArtifact("weights", lent.path, lent.sha256, lent.bytes)
    published = Publication(**{**vars(made), "artifact": artifact, "weights": weights})
    ending = KEPT_BEST if cancelled else SUCCESS
    commit(
        attempt,
        lambda session, own: finish_job(session, own, rows.EVALUATION, published, ending),
        lambda job: job.publish(cancelled=cancelled),
    )
    yield
    store.delete(f"checkpoints/{attempt.job_id}")


def _pause(job: ExpectedJob) -> None:
    if not job.keep_best:
        job.end_as_wanted(State.PAUSED)


def _cancel(job: ExpectedJob) -> None:
    job.end(State.CANCELLED, Reason.USER_CANCELLED)
