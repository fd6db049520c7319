"""A cancel that keeps the best epoch, or gives it up, at the last moment: what was answered 200 is what happens."""

from __future__ import annotations

from rows import EVALUATION, publication, read, start

from core.database import Database
from core.repositories.attempts import Attempt, pause_attempt
from core.repositories.moves import request_cancel, request_pause
from core.repositories.results import KEPT_BEST, finish_job
from core.states import State


def cancel(database: Database, attempt: Attempt, *, keep_best: bool) -> None:
    with database.transaction() as session:
        request_cancel(session, attempt.tenant, attempt.job_id, keep_best=keep_best)


def publish_best(database: Database, attempt: Attempt) -> int | None:
    with database.transaction() as session:
        return finish_job(session, attempt, EVALUATION, publication(), KEPT_BEST)


def pause(database: Database, attempt: Attempt) -> State:
    with database.transaction() as session:
        return pause_attempt(session, attempt)


class TestPublishingTheBest:
    def test_it_is_published(self, database: Database) -> None:
        attempt = start(database)
        cancel(database, attempt, keep_best=True)
        assert publish_best(database, attempt) == 1
        assert read(database, attempt.job_id).state == State.CANCELLED

    def test_given_up_while_it_was_being_exported_it_is_not(self, database: Database) -> None:
        attempt = start(database)
        cancel(database, attempt, keep_best=True)
        cancel(database, attempt, keep_best=False)
        assert publish_best(database, attempt) is None
        row = read(database, attempt.job_id)
        assert (row.state, row.model_version, row.evaluation) == (State.CANCELLED, None, None)


class TestPausing:
    def test_a_cancel_that_keeps_the_best_lets_the_attempt_go_on_to_publish(self, database: Database) -> None:
        attempt = start(database)
        with database.transaction() as session:
            request_pause(session, attempt.tenant, attempt.job_id)
        cancel(database, attempt, keep_best=True)
        assert pause(database, attempt) is State.CANCELLING
        assert publish_best(database, attempt) == 1

    def test_any_other_cancel_ends_it(self, database: Database) -> None:
        attempt = start(database)
        with database.transaction() as session:
            request_pause(session, attempt.tenant, attempt.job_id)
        cancel(database, attempt, keep_best=False)
        assert pause(database, attempt) is State.CANCELLED
