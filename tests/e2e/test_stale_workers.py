"""Workers that fall out of time: frozen for longer than their lease, or with a wrong clock (rows 23 and 24)."""

from __future__ import annotations

import importlib.util
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import rows
from servers import Postgres
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from stack import Stack, gone, until
from topology import Cluster, Laptop
from training import trainer_of, wait_epochs

from core.database import database_now
from core.repositories.attempts import LEASE_SECONDS
from core.states import HELD
from core.tables import JobRow, utc_now
from worker.attempt_watch import RENEW_SECONDS

ENDLESS: dict[str, Any] = {"batch_size": 4, "epochs": 5_000}
"""An epoch takes about a second, and nobody waits for the last."""


@pytest.fixture(params=["laptop", "cluster"])
def either_stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """A kerasd of the test's own on SQLite, then on PostgreSQL."""
    on_cluster = request.param == "cluster"
    topology = Cluster(request.getfixturevalue("postgres")) if on_cluster else Laptop()
    with closing(Stack(tmp_path, topology, KERASD_STANDBY="false")) as stack:
        yield stack


def freeze(stack: Stack, *processes: psutil.Process) -> None:
    """Stops them, but not in the milliseconds of a write: on SQLite one would keep all others from writing."""

    def between_writes() -> bool:
        for process in processes:
            process.suspend()
        try:
            with stack.database.transaction() as session:
                session.scalars(select(JobRow.id).with_for_update(nowait=True)).all()
        except DBAPIError:
            thaw(*processes)
            return False
        return True

    until(between_writes, 60, "the processes are stopped outside of a transaction")


def thaw(*processes: psutil.Process) -> None:
    for process in processes:
        process.resume()


def assert_one_history(stack: Stack, job: str) -> None:
    """Every epoch once, and none by the first attempt after the second had the job."""
    epochs = [entry["epoch"] for entry in stack.epochs(job)]
    assert epochs == list(range(1, len(epochs) + 1))
    events = stack.events(job)
    taken = next(event["id"] for event in events if event.get("cause") == "claimed" and event["attempt"] == 2)
    assert {event["attempt"] for event in events if event["id"] > taken and "attempt" in event} == {2}


class TestFrozen:
    """Row 23."""

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_what_it_writes_on_its_return_is_refused_and_it_goes_on_with_other_work(self, either_stack: Stack) -> None:
        stack = either_stack
        stack.start_all()
        job = stack.submit(**ENDLESS)["id"]
        wait_epochs(stack, job, 2)
        worker, trainer = psutil.Process(stack.pid("worker")), trainer_of(stack, job)
        freeze(stack, worker, trainer)
        stack.start("worker", name="second-worker")
        until(lambda: stack.job(job)["attempt"] == 2, LEASE_SECONDS + 15, "the other worker takes the job")
        thaw(worker, trainer)
        until(lambda: gone(trainer), 15, "the stale trainer is gone", lambda: stack.log("worker"))
        assert "attempt fenced out" in stack.log("worker")
        other = stack.submit(epochs=1)["id"]
        stack.wait_for(other, "SUCCEEDED")
        assert stack.job(job)["state"] == "RUNNING", "the second worker was busy: the first did the other job"
        assert stack.cancel(job)["attempt"] == 2
        assert_one_history(stack, job)

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_its_trainer_left_alone_is_stopped_by_the_fence(self, either_stack: Stack) -> None:
        stack = either_stack
        stack.start_all()
        job = stack.submit(**ENDLESS)["id"]
        wait_epochs(stack, job, 2)
        worker, trainer = psutil.Process(stack.pid("worker")), trainer_of(stack, job)
        freeze(stack, worker)
        stack.start("worker", name="second-worker")
        until(lambda: stack.job(job)["attempt"] == 2, LEASE_SECONDS + 15, "the other worker takes the job")
        until(lambda: gone(trainer), 15, "the stale trainer ends itself", lambda: stack.log("worker"))
        thaw(worker)
        until(lambda: "attempt fenced out" in stack.log("worker"), 15, "the worker sees that it lost the job")
        assert stack.cancel(job)["attempt"] == 2
        assert_one_history(stack, job)


def wrong_clock(offset: str) -> dict[str, str]:
    """Environment variables of a process whose clock is off, such as by "+1h". Its monotonic clock is right."""
    found = importlib.util.find_spec("libfaketime")
    assert found is not None
    library = Path(str(found.origin)).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="needs libfaketime, built for Linux on x86-64"
)
class TestWrongClock:
    """Row 24. SQLite has no clock of its own, but there all workers are on one host, and have one clock too."""

    @pytest.mark.long
    @pytest.mark.timeout(400)
    @pytest.mark.parametrize(("offset", "hours"), [("+3700", 1), ("-3700", -1)])
    def test_leases_count_on_the_database_s_clock(
        self, postgres: Postgres, tmp_path: Path, offset: str, hours: int
    ) -> None:
        with closing(Stack(tmp_path, Cluster(postgres), KERASD_STANDBY="false")) as stack:
            arriving = stack.settings.data_dir / "artifacts" / "uploads" / "arriving"
            arriving.mkdir(parents=True)  # an upload that no row names yet
            stack.start_all()
            stack.start("worker", name="wrong-worker", **wrong_clock(offset))
            jobs = [stack.submit(**ENDLESS)["id"] for _ in range(2)]
            for job in jobs:
                wait_epochs(stack, job, 1)
            assert {round(clock_error(stack, job) / 3700) for job in jobs} == {0, hours}, "a worker's clock is off"
            deadline = time.monotonic() + 2 * RENEW_SECONDS + 2
            while time.monotonic() < deadline:
                assert all(0 < left <= LEASE_SECONDS for left in lease_seconds_left(stack))
                time.sleep(1)
            assert [stack.job(job)["attempt"] for job in jobs] == [1, 1], "nobody thought the other's lease expired"
            assert arriving.exists()


def clock_error(stack: Stack, job: str) -> float:
    """Seconds, about, by which the clock of the job's trainer is ahead: it stores epochs all the time."""
    newest = rows.events(stack.database, job)[-1].created_at
    return (newest - utc_now()) / timedelta(seconds=1)


def lease_seconds_left(stack: Stack) -> list[float]:
    with stack.database.snapshot() as session:
        held = select(JobRow.lease_expires_at - database_now()).where(JobRow.state.in_(HELD))
        return [float(left) for left in session.scalars(held) if left is not None]
