"""Writes of a trainer while the database breaks off and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import rows
from servers import Postgres
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.database import Database
from core.repositories.attempts import Attempt, append_log
from worker.ledger import Ledger


@pytest.fixture
def on_postgres(postgres: Postgres) -> Iterator[Database]:
    with postgres.database(migrated=True) as url:
        database = Database(url)
        yield database
        database.close()


class TestWrite:
    def test_a_session_that_the_server_ended_for_idling_is_tried_again(self, on_postgres: Database) -> None:
        """As of a process that was frozen within a transaction."""
        ledger = Ledger(on_postgres, rows.start(on_postgres))
        tries: list[str] = []

        def work(session: Session, attempt: Attempt) -> None:
            tries.append("try")
            append_log(session, attempt, "text")
            if len(tries) == 1:
                session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 20"))
                time.sleep(0.2)
                session.execute(text("SELECT 1"))

        ledger.write(work)
        assert len(tries) == 2
        assert len(rows.events(on_postgres, ledger.attempt.job_id, "log")) == 1

    def test_a_mistake_of_ours_is_not(self, on_postgres: Database) -> None:
        ledger = Ledger(on_postgres, rows.start(on_postgres))
        tries: list[str] = []

        def work(session: Session, attempt: Attempt) -> None:
            tries.append("try")
            session.execute(text("SELECT no_such_column"))

        with pytest.raises(DBAPIError):
            ledger.write(work)
        assert len(tries) == 1
