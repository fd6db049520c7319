"""Files of jobs that no row names go; those that are named, or about to be, stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from rows import claim, epoch, start

from core.artifacts import ArtifactStore
from core.database import Database
from core.repositories.attempts import Attempt, Ending, end_attempt
from core.repositories.checkpoints import Checkpoint
from core.repositories.results import record_epoch
from core.states import Reason, State
from core.tables import LOCAL_TENANT
from worker.leftovers import GRACE_SECONDS, sweep_job, sweep_jobs

FAILED = Ending(State.FAILED, outcome="failed", reason=Reason.INTERNAL_ERROR)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


def put(store: ArtifactStore, *paths: str) -> None:
    for path in paths:
        store.put(path, b"content")


def record(database: Database, store: ArtifactStore, attempt: Attempt, number: int) -> str:
    stored = store.put(f"checkpoints/{attempt.job_id}/{attempt.number}-{number}", b"content")
    with database.transaction() as session:
        checkpoint = Checkpoint(number, stored.path, stored.sha256, stored.bytes)
        record_epoch(session, attempt, epoch(number), {"epoch": number}, best=True, checkpoint=checkpoint)
    return stored.path


def end(database: Database, attempt: Attempt, ending: Ending) -> None:
    with database.transaction() as session:
        end_attempt(session, attempt, ending)


class TestSweepJob:
    def test_what_a_killed_attempt_left_goes_and_its_recorded_checkpoint_stays(
        self, database: Database, store: ArtifactStore
    ) -> None:
        attempt = start(database)
        recorded = record(database, store, attempt, 1)
        torn, unpublished = f"checkpoints/{attempt.job_id}/1-2", f"local/{attempt.job_id}/1/model.onnx"
        put(store, torn, unpublished)
        end(database, attempt, FAILED)
        assert sorted(sweep_job(database, store, attempt)) == [torn, unpublished]
        assert list(store.files("")) == [recorded]

    def test_what_the_running_attempt_writes_stays(self, database: Database, store: ArtifactStore) -> None:
        first = start(database)
        end(database, first, Ending(State.QUEUED, outcome="released", counts_as_failure=False))
        assert claim(database) is not None
        mine = {f"checkpoints/{first.job_id}/2-1", f"local/{first.job_id}/2/model.onnx"}
        put(store, *mine, f"checkpoints/{first.job_id}/1-1", f"checkpoints/{first.job_id}/22-1")
        sweep_job(database, store, first)
        assert set(store.files("")) == mine

    def test_other_jobs_are_let_alone(self, database: Database, store: ArtifactStore) -> None:
        attempt = start(database)
        put(store, "checkpoints/another/1-1")
        assert sweep_job(database, store, attempt) == []


class TestSweepJobs:
    def test_old_files_that_nothing_needs_go(self, database: Database, store: ArtifactStore, tmp_path: Path) -> None:
        attempt = start(database)
        recorded = record(database, store, attempt, 1)
        put(store, "checkpoints/gone/1-1", "local/gone/1/model.onnx", "local/new/1/model.onnx", "datasets/some/0")
        old = time.time() - GRACE_SECONDS - 1
        for path in ("checkpoints/gone/1-1", "local/gone/1/model.onnx", recorded, "datasets/some/0"):
            os.utime(tmp_path / "store" / path, (old, old))
        removed = sweep_jobs(database, store, LOCAL_TENANT)
        assert sorted(removed) == ["checkpoints/gone/1-1", "local/gone/1/model.onnx"]
        assert set(store.files("")) == {recorded, "local/new/1/model.onnx", "datasets/some/0"}
