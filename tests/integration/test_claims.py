"""Leases and fences (promise P2: at most one attempt's effects are visible), on both engines."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import rows
from sqlalchemy import update
from sqlalchemy.orm import Session

from core.database import Database
from core.errors import FencedOut
from core.objective import Direction, Objective
from core.repositories.attempts import (
    Attempt,
    Ending,
    add_warning,
    append_log,
    end_attempt,
    lose_attempt,
    record_environment,
    renew_lease,
    write_job,
)
from core.repositories.checkpoints import Checkpoint, list_checkpoints
from core.repositories.claims import attempts_on_host, expired_attempts, release_lost
from core.repositories.models import list_best
from core.repositories.results import finish_job, record_epoch
from core.repositories.resumption import begin_training
from core.states import Reason, State
from core.tables import LOCAL_TENANT, DatasetRow

WRITES: dict[str, Callable[[Session, Attempt], object]] = {
    "record_epoch": lambda session, attempt: record_epoch(session, attempt, rows.epoch(1), {}, best=True),
    "append_log": lambda session, attempt: append_log(session, attempt, "text"),
    "add_warning": lambda session, attempt: add_warning(session, attempt, {"code": "code", "detail": "detail"}),
    "write_job": lambda session, attempt: write_job(session, attempt, progress={}),
    "record_environment": lambda session, attempt: record_environment(session, attempt, {}),
    "end_attempt": lambda session, attempt: end_attempt(session, attempt, Ending(State.FAILED, "failed")),
    "lose_attempt": lambda session, attempt: lose_attempt(session, attempt, Reason.WORKER_LOST, "gone"),
    "finish_job": lambda session, attempt: finish_job(session, attempt, rows.EVALUATION, rows.publication()),
    "renew_lease": renew_lease,
}


def release(database: Database, attempt: Attempt, *, if_expired: bool = False) -> None:
    with database.transaction() as session:
        release_lost(session, attempt, "its worker died", if_expired=if_expired)


def checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint(epoch, f"checkpoints/{epoch}", "0" * 64, 100)


class TestClaimNext:
    def test_nothing_queued_is_nothing_claimed(self, database: Database) -> None:
        assert rows.claim(database) is None

    def test_priority_goes_before_age(self, database: Database) -> None:
        old, urgent = rows.submit(database), rows.submit(database, priority=1)
        claimed = [rows.claim(database), rows.claim(database)]
        assert [claim.attempt.job_id for claim in claimed if claim] == [urgent, old]

    def test_many_workers_claim_each_job_once(self, database: Database) -> None:
        jobs = [rows.submit(database) for _ in range(12)]
        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(lambda _: rows.claim(database), range(30)))
        assert sorted(claim.attempt.job_id for claim in claims if claim) == sorted(jobs)

    def test_a_job_that_cannot_be_read_ends_and_holds_up_no_other(self, database: Database) -> None:
        unreadable = [rows.submit(database, priority=1) for _ in range(2)]
        healthy = rows.submit(database)
        spec = rows.read(database, healthy).spec
        rows.write(database, unreadable[0], spec={**spec, "epochs": 10**6})
        rows.write(database, unreadable[1], spec={**spec, "architecture": {"name": "of-a-plug-in", "input_size": None}})
        claimed = rows.claim(database)
        assert claimed is not None
        assert claimed.attempt.job_id == healthy
        for job, field in zip(unreadable, ("/epochs", "/architecture/name"), strict=True):
            row = rows.read(database, job)
            assert (row.state, row.reason, row.attempt) == (State.FAILED, Reason.INTERNAL_ERROR, 0)
            assert field in (row.detail or "")
            assert "submit the job anew" in (row.detail or "")
            assert row.finished_at is not None
            assert rows.events(database, job, "state")[-1].data["cause"] == "unreadable"

    def test_a_job_whose_dataset_cannot_be_read_ends_as_well(self, database: Database) -> None:
        job = rows.submit(database)
        with database.transaction() as session:
            session.execute(update(DatasetRow).values(content={"labels": []}))
        assert rows.claim(database) is None
        row = rows.read(database, job)
        assert (row.state, row.reason) == (State.FAILED, Reason.INTERNAL_ERROR)
        assert "cannot read the job's dataset" in (row.detail or "")

    def test_a_time_limit_counts_from_the_first_claim(self, database: Database) -> None:
        job = rows.submit(database, timeout_seconds=100)
        first = rows.claim(database)
        assert first is not None
        assert 99 < (first.seconds_left or 0) <= 100
        rows.write(database, job, deadline=rows.read(database, job).deadline - 60)  # type: ignore[operator]
        release(database, first.attempt)
        second = rows.claim(database)
        assert second is not None
        assert 39 < (second.seconds_left or 0) <= 40


class TestFence:
    @pytest.mark.parametrize("name", WRITES)
    def test_no_write_of_an_attempt_that_lost_its_job_gets_through(self, database: Database, name: str) -> None:
        stale = rows.start(database)
        release(database, stale)
        with pytest.raises(FencedOut), database.transaction() as session:
            WRITES[name](session, stale)
        fresh = rows.claim(database)
        assert fresh is not None
        before = rows.read(database, stale.job_id)
        with pytest.raises(FencedOut), database.transaction() as session:
            WRITES[name](session, stale)
        assert rows.read(database, stale.job_id).revision == before.revision
        with database.transaction() as session:
            WRITES[name](session, fresh.attempt)

    def test_a_new_attempt_keeps_the_epochs_up_to_its_checkpoint(self, database: Database) -> None:
        attempt = rows.start(database)
        for number in (1, 2, 3):
            with database.transaction() as session:
                record_epoch(
                    session,
                    attempt,
                    rows.epoch(number),
                    {"epoch": number},
                    best=number < 3,
                    checkpoint=checkpoint(number),
                )
        release(database, attempt)
        claimed = rows.claim(database)
        assert claimed is not None
        assert [found.epoch for found in claimed.checkpoints] == [3, 2]
        with database.transaction() as session:
            history = begin_training(session, claimed.attempt, 2, 1, ["the newest is torn"])
        assert [metrics.epoch for metrics in history] == [1, 2]
        row = rows.read(database, attempt.job_id)
        assert row.best_epoch is not None
        assert (row.best_epoch["epoch"], row.progress["epoch"]) == (1, 2)
        with database.snapshot() as session:
            assert [found.epoch for found in list_checkpoints(session, LOCAL_TENANT, attempt.job_id)] == [2]
        event = rows.events(database, attempt.job_id, "checkpoint")[0]
        assert event.data["resumed_after_epoch"] == 2

    def test_without_a_checkpoint_it_starts_again(self, database: Database) -> None:
        attempt = rows.start(database)
        with database.transaction() as session:
            record_epoch(session, attempt, rows.epoch(1), {}, best=True)
        release(database, attempt)
        claimed = rows.claim(database)
        assert claimed is not None
        with database.transaction() as session:
            assert begin_training(session, claimed.attempt, 0, None, []) == []
        assert rows.read(database, attempt.job_id).best_epoch is None

    def test_only_attempts_without_a_finished_epoch_count(self, database: Database) -> None:
        job = rows.submit(database, max_attempts=2)
        for number in range(1, 5):
            claimed = rows.claim(database)
            assert claimed is not None
            with database.transaction() as session:
                record_epoch(session, claimed.attempt, rows.epoch(number), {}, best=False)
            release(database, claimed.attempt)
        for _ in range(2):
            assert rows.read(database, job).state == State.QUEUED or rows.read(database, job).state == State.FAILED
            claimed = rows.claim(database)
            if claimed is not None:
                release(database, claimed.attempt)
        assert rows.read(database, job).state == State.FAILED


class TestLeases:
    def test_an_expired_one_is_seen_on_the_databases_clock(self, database: Database) -> None:
        attempt = rows.start(database)
        with database.snapshot() as session:
            assert list(expired_attempts(session)) == []
        rows.expire_lease(database, attempt.job_id)
        with database.snapshot() as session:
            assert list(expired_attempts(session)) == [attempt]

    def test_one_renewed_meanwhile_is_not_taken(self, database: Database) -> None:
        attempt = rows.start(database)
        rows.expire_lease(database, attempt.job_id)
        with database.transaction() as session:
            assert renew_lease(session, attempt) is State.RUNNING
        release(database, attempt, if_expired=True)
        assert rows.read(database, attempt.job_id).state == State.RUNNING

    def test_holders_of_a_host_are_found_by_boot(self, database: Database) -> None:
        attempt = rows.start(database)
        with database.snapshot() as session:
            assert list(attempts_on_host(session, rows.HOLDER.boot_id)) == [(attempt, rows.HOLDER)]
            assert list(attempts_on_host(session, "another boot")) == []

    def test_two_reconcilers_make_one_transition(self, database: Database) -> None:
        """Row 26."""
        attempt = rows.start(database)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: release(database, attempt), range(2)))
        causes = [event.data["cause"] for event in rows.events(database, attempt.job_id, "state")]
        assert causes.count("lost") == 1


class TestLoss:
    def test_the_last_try_is_the_end(self, database: Database) -> None:
        attempt = rows.start(database, max_attempts=2)
        release(database, attempt)
        assert rows.read(database, attempt.job_id).state == State.QUEUED
        second = rows.claim(database)
        assert second is not None
        release(database, second.attempt)
        row = rows.read(database, attempt.job_id)
        assert (row.state, row.reason) == (State.FAILED, Reason.WORKER_LOST)
        assert "gave up after 2 attempts" in str(row.detail)

    def test_a_job_given_back_loses_no_try(self, database: Database) -> None:
        attempt = rows.start(database, max_attempts=1)
        with database.transaction() as session:
            end_attempt(session, attempt, Ending(State.QUEUED, "released", counts_as_failure=False))
        assert rows.read(database, attempt.job_id).fruitless_attempts == 0

    def test_a_job_being_cancelled_is_cancelled(self, database: Database) -> None:
        from core.repositories.moves import request_cancel

        attempt = rows.start(database)
        with database.transaction() as session:
            request_cancel(session, LOCAL_TENANT, attempt.job_id)
        release(database, attempt)
        row = rows.read(database, attempt.job_id)
        assert (row.state, row.reason) == (State.CANCELLED, Reason.USER_CANCELLED)


class TestPublishing:
    def publish(self, database: Database, objective: Objective = rows.ACCURACY, **metrics: float | None) -> int:
        return rows.finish(
            database, rows.start(database), rows.publication(objective=objective, view="digits", **metrics)
        )

    def best(self, database: Database) -> int:
        with database.snapshot() as session:
            return list_best(session, LOCAL_TENANT)[0].row.version

    def test_versions_count_up_and_the_better_one_serves(self, database: Database) -> None:
        assert self.publish(database, val_accuracy=0.5) == 1
        assert self.publish(database, val_accuracy=0.4) == 2
        assert self.best(database) == 1
        assert self.publish(database, val_accuracy=0.6) == 3
        assert self.best(database) == 3

    def test_a_loss_is_better_when_lower(self, database: Database) -> None:
        loss = Objective("val_loss", Direction.MIN)
        self.publish(database, loss, val_loss=1.0)
        self.publish(database, loss, val_loss=2.0)
        assert self.best(database) == 1
        self.publish(database, loss, val_loss=0.5)
        assert self.best(database) == 3

    def test_two_jobs_that_finish_at_once_both_publish(self, database: Database) -> None:
        attempts = [rows.start(database) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            versions = list(pool.map(lambda attempt: rows.finish(database, attempt), attempts))
        assert sorted(versions) == [1, 2, 3, 4]
