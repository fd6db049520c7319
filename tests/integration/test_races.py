"""Two who move one job at the same moment, on both engines. Numbers are rows of the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import rows
from sqlalchemy import select
from starlette.testclient import TestClient

from core.database import Database
from core.errors import FencedOut
from core.repositories.attempts import Attempt, end_attempt
from core.repositories.claims import Holder
from core.settings import Settings
from core.states import ENDED, State
from core.tables import ModelVersionRow
from service.app import create_app
from worker.attempt_watch import CANCELLED
from worker.reconciler import release_lost_attempts

RECONCILERS = 4
JOBS = 6
ROUNDS = 10


def moves(database: Database, job: str) -> list[dict[str, Any]]:
    return [event.data for event in rows.events(database, job, "state")]


class TestReconcilers:
    @pytest.mark.parametrize("own_boot", ["boot-1", "another boot"], ids=["holder known dead", "lease expired"])
    def test_each_lost_job_moves_once(self, database: Database, database_url: str, own_boot: str) -> None:
        """Row 26."""
        jobs = [rows.start(database).job_id for _ in range(JOBS)]
        if own_boot != rows.HOLDER.boot_id:
            for job in jobs:
                rows.expire_lease(database, job)
        together = Barrier(RECONCILERS)

        def reconcile(number: int) -> None:
            own = Database(database_url)
            together.wait(timeout=30)
            release_lost_attempts(own, Holder(f"host/{number}", own_boot, number, 1.0))
            own.close()

        with ThreadPoolExecutor(RECONCILERS) as pool:
            list(pool.map(reconcile, range(RECONCILERS)))
        for job in jobs:
            assert [move["cause"] for move in moves(database, job)] == ["submitted", "claimed", "lost"]
            row = rows.read(database, job)
            assert (row.state, row.fruitless_attempts) == (State.QUEUED, 1)


class TestCancelAgainstSuccess:
    @pytest.fixture
    def api(self, database_url: str, tmp_path: Path) -> Iterator[TestClient]:
        settings = Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0")
        with TestClient(create_app(settings)) as client:
            yield client

    def test_there_is_one_end_and_both_see_it(self, database: Database, api: TestClient) -> None:
        """Row 27."""
        for _ in range(ROUNDS):
            attempt = rows.start(database)
            together = Barrier(2)
            with ThreadPoolExecutor(2) as pool:
                version = pool.submit(self.succeed, database, attempt, together)
                status = pool.submit(self.cancel, database, attempt, together, api)
            self.assert_one_end(database, api, attempt.job_id, version.result(), status.result())

    def succeed(self, database: Database, attempt: Attempt, together: Barrier) -> int | None:
        """As the trainer: the version that it published, or None when it was too late."""
        together.wait(timeout=30)
        try:
            return rows.finish(database, attempt)
        except FencedOut:
            return None

    def cancel(self, database: Database, attempt: Attempt, together: Barrier, api: TestClient) -> int:
        """As the client, and then as the worker that hears of it: the status of the answer."""
        together.wait(timeout=30)
        answer = api.post(f"/api/v1/jobs/{attempt.job_id}:cancel")
        if answer.status_code == 200:
            try:
                with database.transaction() as session:
                    end_attempt(session, attempt, CANCELLED)
            except FencedOut:
                pass
        return answer.status_code

    def assert_one_end(
        self, database: Database, api: TestClient, job: str, version: int | None, cancelled: int
    ) -> None:
        state = State.CANCELLED if version is None else State.SUCCEEDED
        assert [move["state"] for move in moves(database, job) if move["state"] in ENDED] == [state]
        seen = api.get(f"/api/v1/jobs/{job}").json()
        assert seen["state"] == state
        assert seen["reason"] == (None if version else "USER_CANCELLED")
        assert (seen["model"] or {}).get("version") == version
        with database.snapshot() as session:
            published = select(ModelVersionRow.version).where(ModelVersionRow.job_id == job)
            assert list(session.scalars(published)) == ([] if version is None else [version])
        assert cancelled == 200 or (cancelled == 409 and state is State.SUCCEEDED)
        assert api.post(f"/api/v1/jobs/{job}:cancel").status_code == (200 if version is None else 409)
