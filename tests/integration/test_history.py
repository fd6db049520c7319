"""The history checker finds nothing in a good history, and every way in which it can be broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from history import violations
from rows import claim, epoch, finish, publication, start, submit
from sqlalchemy import delete, insert, update
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.database import Database
from core.repositories.attempts import Attempt, Ending, end_attempt
from core.repositories.best import lock_best, promote
from core.repositories.checkpoints import Checkpoint
from core.repositories.claims import release_lost
from core.repositories.moves import request_cancel
from core.repositories.results import StoredArtifact, record_epoch
from core.states import Reason, State
from core.tables import (
    ArtifactRow,
    AttemptRow,
    BestRow,
    DatasetEventRow,
    DatasetRow,
    EpochRow,
    EvaluationRow,
    EventRow,
    JobRow,
    ModelEventRow,
    ModelVersionRow,
    utc_now,
)

Breakage = Callable[[Session, "Past"], Any]
FAILED = Ending(State.FAILED, outcome="failed", reason=Reason.INTERNAL_ERROR)


@pytest.fixture(params=["sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    """What is wrong with rows does not depend on the engine."""
    return str(request.param)


@dataclass
class Past:
    """Three ended jobs and a running one: with two models, a lost attempt, a failure, a checkpoint."""

    database: Database
    store: ArtifactStore
    scratch: Path
    won: str
    failed: str
    cancelled: str
    running: str

    def found(self, *, drained: bool = False, acknowledged: tuple[str, ...] = ()) -> list[str]:
        return violations(
            self.database, acknowledged=acknowledged, drained=drained, store=self.store, scratch=self.scratch
        )


@pytest.fixture
def past(database: Database, tmp_path: Path) -> Past:
    store, scratch = ArtifactStore(str(tmp_path / "store")), tmp_path / "scratch"
    scratch.mkdir()
    won = _succeed(database, store, val_accuracy=0.6)
    _succeed(database, store, val_accuracy=0.5)
    failing = start(database, epochs=2)
    _record(database, store, failing, 1)
    with database.transaction() as session:
        end_attempt(session, failing, FAILED)
    cancelled = submit(database)
    with database.transaction() as session:
        request_cancel(session, "local", cancelled)
    running = start(database, epochs=2)
    _record(database, store, running, 1)
    store.put(f"checkpoints/{running.job_id}/1-2", b"not recorded yet")
    with database.transaction() as session:
        session.execute(update(DatasetRow).values(content=None))  # its files are not here
    return Past(database, store, scratch, won, failing.job_id, cancelled, running.job_id)


def _succeed(database: Database, store: ArtifactStore, val_accuracy: float) -> str:
    first = start(database, epochs=2)
    _record(database, store, first, 1)
    with database.transaction() as session:
        release_lost(session, first, "its worker died")
    second = claim(database)
    assert second is not None
    with database.transaction() as session:
        record_epoch(session, second.attempt, epoch(2), {"epoch": 2}, best=True)
    stored = store.put(f"local/{first.job_id}/2/model.onnx", b"model")
    published = publication(val_accuracy=val_accuracy)
    files = {
        "artifact": StoredArtifact("onnx", stored.path, stored.sha256, stored.bytes),
        "weights": StoredArtifact("weights", f"local/{first.job_id}/2/weights", stored.sha256, stored.bytes),
    }
    store.put(files["weights"].path, b"model")
    finish(database, second.attempt, type(published)(**{**vars(published), **files}))
    store.delete(f"checkpoints/{first.job_id}")
    return first.job_id


def _record(database: Database, store: ArtifactStore, attempt: Attempt, number: int) -> None:
    stored = store.put(f"checkpoints/{attempt.job_id}/{attempt.number}-{number}", b"checkpoint")
    with database.transaction() as session:
        checkpoint = Checkpoint(number, stored.path, stored.sha256, stored.bytes)
        record_epoch(session, attempt, epoch(number), {"epoch": number}, best=True, checkpoint=checkpoint)


def change(table: Any, which: Callable[[Past], Any], **values: Any) -> Breakage:
    return lambda session, past: session.execute(update(table).where(which(past)).values(**values))


def job(name: str, **values: Any) -> Breakage:
    return change(JobRow, lambda past: JobRow.id == getattr(past, name), **values)


def drop(table: Any, which: Callable[[Past], Any]) -> Breakage:
    return lambda session, past: session.execute(delete(table).where(which(past)))


def second_model(session: Session, past: Past) -> None:
    """The failed job has published too."""
    row = session.query(ModelVersionRow).where(ModelVersionRow.job_id == past.won).one()
    values = {column.name: getattr(row, column.name) for column in ModelVersionRow.__table__.columns}
    session.execute(insert(ModelVersionRow).values({**values, "id": 99, "version": 3, "job_id": past.failed}))


def repeat_state(session: Session, past: Past) -> None:
    """The failed job runs again without having been queued."""
    row = session.query(JobRow).where(JobRow.id == past.failed).one()
    row.last_event += 1
    session.flush()
    values = {"tenant_id": "local", "kind": "state", "data": {"state": "RUNNING"}, "created_at": utc_now()}
    session.execute(insert(EventRow).values(job_id=past.failed, sequence=row.last_event, **values))


BREAKAGES: dict[str, tuple[Breakage, str]] = {
    "success with a reason": (job("won", reason="TIMEOUT"), "its reason is TIMEOUT"),
    "failure without a reason": (job("failed", reason=None), "its reason is None"),
    "cancelled without a reason": (job("cancelled", reason=None), "its reason is None"),
    "a lease on an ended job": (job("won", lease_expires_at=9e9), "a lease that nobody holds"),
    "a running job without a lease": (job("running", lease_expires_at=None), "held without a lease"),
    "ended, at no time": (job("won", finished_at=None), "finished_at is None"),
    "not the state of the last event": (job("cancelled", state="FAILED"), "its last event says CANCELLED"),
    "an attempt is missing": (
        drop(AttemptRow, lambda past: (AttemptRow.job_id == past.won) & (AttemptRow.number == 1)),
        "its attempts are numbered [2], the newest 2",
    ),
    "an attempt that never ended": (
        change(AttemptRow, lambda past: AttemptRow.job_id == past.failed, outcome=None, ended_at=None),
        "attempt 1 is over, with outcome None",
    ),
    "a running attempt that ended": (
        change(AttemptRow, lambda past: AttemptRow.job_id == past.running, outcome="lost"),
        "attempt 1 runs, with outcome lost",
    ),
    "a lost epoch": (
        drop(EpochRow, lambda past: (EpochRow.job_id == past.won) & (EpochRow.epoch == 1)),
        "its epochs are [2]",
    ),
    "fewer epochs than asked for": (
        drop(EpochRow, lambda past: (EpochRow.job_id == past.won) & (EpochRow.epoch == 2)),
        "it succeeded with 1 of 2 epochs",
    ),
    "an epoch of an earlier attempt": (
        change(EpochRow, lambda past: (EpochRow.job_id == past.won) & (EpochRow.epoch == 1), attempt=3),
        "its epochs were made by attempts [3, 2]",
    ),
    "a checkpoint without its epoch": (
        drop(EpochRow, lambda past: EpochRow.job_id == past.failed),
        "checkpoints of epochs [1] that are not recorded",
    ),
    "a lost event": (
        drop(EventRow, lambda past: (EventRow.job_id == past.won) & (EventRow.sequence == 3)),
        "its events are numbered [1, 2, 4",
    ),
    "an illegal move": (repeat_state, "it went from FAILED to RUNNING"),
    "no first event": (
        drop(EventRow, lambda past: (EventRow.job_id == past.cancelled) & (EventRow.sequence == 1)),
        "its first state was CANCELLED",
    ),
    "success without a model": (
        drop(ModelVersionRow, lambda past: ModelVersionRow.job_id == past.won),
        "it has 0 models, 1 evaluations, artifacts ['onnx', 'weights']",
    ),
    "success without an evaluation": (
        drop(EvaluationRow, lambda past: EvaluationRow.job_id == past.won),
        "it has 1 models, 0 evaluations, artifacts ['onnx', 'weights']",
    ),
    "a failure with a model": (second_model, "it has 1 models, 0 evaluations, artifacts []"),
    "a job that names another model": (job("won", model_version=2), "it names the models [('digits.lenet', 2)]"),
    "a job without its summary": (job("won", evaluation=None), "its evaluation is None"),
    "a lost version": (
        drop(ModelVersionRow, lambda past: ModelVersionRow.version == 1),
        "model digits.lenet: its versions are [2]",
    ),
    "no best version": (drop(BestRow, lambda past: BestRow.name == "digits.lenet"), "none of its versions is the best"),
    "a best version that is not there": (
        change(BestRow, lambda past: BestRow.name == "digits.lenet", version=7),
        "its best is version 7, which is not there",
    ),
    "not the best version": (
        change(BestRow, lambda past: BestRow.name == "digits.lenet", version=2),
        "its best is version 2, not 1",
    ),
    "a model's lost event": (
        drop(ModelEventRow, lambda past: ModelEventRow.sequence == 1),
        "model digits.lenet: its events are numbered [2], the last one 2",
    ),
    "a change of best without an event": (
        change(BestRow, lambda past: BestRow.name == "digits.lenet", version=2),
        "its last event says that 1 serves",
    ),
    "a dataset with a lease": (
        change(DatasetRow, lambda past: DatasetRow.name == "digits", lease_expires_at=9e9),
        "dataset digits (READY): it has a lease that nobody holds",
    ),
    "a dataset without files": (
        change(DatasetRow, lambda past: DatasetRow.name == "digits", path=None),
        "its files are in None",
    ),
    "a dataset's lost event": (
        drop(DatasetEventRow, lambda past: DatasetEventRow.sequence == 1),
        "dataset digits (READY): its events are numbered []",
    ),
    "a row without its file": (
        change(ArtifactRow, lambda past: ArtifactRow.job_id == past.won, path="local/other"),
        "file local/other is missing",
    ),
    "a file without its row": (
        drop(ArtifactRow, lambda past: ArtifactRow.job_id == past.won),
        "/2/model.onnx belongs to nothing",
    ),
}


class TestViolations:
    def test_a_good_history_has_none(self, past: Past) -> None:
        assert past.found(acknowledged=(past.won, past.running)) == []

    @pytest.mark.parametrize("name", BREAKAGES)
    def test_it_finds(self, past: Past, name: str) -> None:
        breakage, expected = BREAKAGES[name]
        with past.database.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")  # what is broken is not for SQLite to mend
            with Session(connection) as session:
                breakage(session, past)
                session.commit()
        assert any(expected in violation for violation in past.found()), past.found()

    def test_an_acknowledged_job_that_is_not_there(self, past: Past) -> None:
        assert past.found(acknowledged=("0190",)) == ["job 0190 was acknowledged and is lost"]

    def test_a_job_that_has_not_ended_when_all_should_have(self, past: Past) -> None:
        assert past.found(drained=True) == [f"job {past.running} (RUNNING): it has not ended"]

    def test_a_file_of_an_attempt_that_is_over(self, past: Past) -> None:
        path = f"checkpoints/{past.failed}/1-2"
        past.store.put(path, b"")
        assert past.found() == [f"file {path} belongs to nothing"]

    def test_a_scratch_folder(self, past: Past) -> None:
        (past.scratch / "123-abc").mkdir()
        assert past.found() == ["scratch folder 123-abc is left over"]

    def test_a_pinned_version_need_not_be_the_best(self, past: Past) -> None:
        with past.database.transaction() as session:
            promote(session, lock_best(session, "local", "digits.lenet"), 2)
        assert past.found() == []

    def test_a_dataset_that_is_still_imported_when_all_should_have_ended(self, past: Past) -> None:
        with past.database.transaction() as session:
            session.execute(update(DatasetRow).values(state="IMPORTING", path=None))
        assert "dataset digits (IMPORTING): its import has not ended" in past.found(drained=True)
