"""A PostgreSQL that crashes, for a moment or for longer than a lease. Numbers are rows of the fault matrix."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest
from servers import Postgres, running_postgres
from stack import Stack, gone, until
from topology import Cluster
from training import SLOW, assert_whole, trainer_of, wait_epochs

from core.repositories.attempts import LEASE_SECONDS

LONG = {**SLOW, "epochs": 20}
"""The outage comes in the midst of it."""


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to be crashed."""
    with running_postgres(crashes=True) as running:
        yield running


@pytest.fixture
def stack(server: Postgres, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path, Cluster(server), KERASD_STANDBY="false")
    try:
        yield stack
    finally:
        server.start()
        stack.close()


def assert_unavailable(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["code"] == "database_unavailable"


class TestMoment:
    """Row 10."""

    def test_the_api_says_503_and_when_to_try_again(self, stack: Stack, server: Postgres) -> None:
        for part in ("valkey", "api"):
            stack.start(part)
        stack.wait_ready()
        job = stack.submit(epochs=1)["id"]
        server.crash()
        for _ in stack.urls:
            assert_unavailable(stack.http.get(f"/api/v1/jobs/{job}"))
            assert_unavailable(stack.http.post("/api/v1/jobs", json={"dataset": "digits", "architecture": "lenet"}))
            ready = stack.http.get("/readyz")
            assert (ready.status_code, ready.headers["Retry-After"]) == (503, "1")
            assert stack.http.get("/livez").status_code == 200
        server.start()
        stack.wait_ready()
        for _ in stack.urls:
            assert stack.job(job)["state"] == "QUEUED"
            stack.submit(epochs=1)

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_a_job_goes_on_in_the_same_attempt(self, stack: Stack, server: Postgres) -> None:
        stack.start_all()
        job = stack.submit(**LONG)["id"]
        wait_epochs(stack, job, 2)
        for _ in range(2):
            server.crash()
            assert_unavailable(stack.http.get(f"/api/v1/jobs/{job}"))
            time.sleep(5)  # the length of the outage
            server.start()
            stack.wait_ready()
            assert stack.job(job)["state"] == "RUNNING"
        assert stack.wait_for(job, "SUCCEEDED")["attempt"] == 1
        assert_whole(stack, job, LONG["epochs"])


class TestLongerThanALease:
    """Row 11."""

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_the_trainer_is_ended_and_one_later_attempt_goes_on(self, stack: Stack, server: Postgres) -> None:
        stack.start_all()
        stack.start("worker", name="second-worker")
        job = stack.submit(**LONG)["id"]
        wait_epochs(stack, job, 2)
        done = len(stack.epochs(job))
        trainers = [child for child in every_child(stack) if "worker.trainer" in child.cmdline()]
        server.crash()
        crashed = time.monotonic()
        until(lambda: all(map(gone, trainers)), LEASE_SECONDS + 10, "the trainer is ended", lambda: stack.log("worker"))
        time.sleep(max(0.0, 90 - (time.monotonic() - crashed)))  # the length of the outage
        server.start()
        assert stack.wait_for(job, "SUCCEEDED")["attempt"] == 2
        assert_whole(stack, job, LONG["epochs"])
        resumed = [event for event in stack.events(job) if event["kind"] == "checkpoint"]
        assert [event["resumed_after_epoch"] >= done for event in resumed] == [True]
        for part in ("worker", "second-worker"):
            assert stack.kill(part, signal.SIGTERM) == 0

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_a_trainer_whose_worker_cannot_end_it_ends_itself(self, stack: Stack, server: Postgres) -> None:
        """It tells nobody that the job failed: a database that is away says nothing of the job."""
        stack.start_all()
        job = stack.submit(**LONG, max_attempts=1)["id"]
        wait_epochs(stack, job, 2)
        worker, trainer = psutil.Process(stack.pid("worker")), trainer_of(stack, job)
        worker.suspend()
        server.crash()
        until(lambda: gone(trainer), LEASE_SECONDS + 20, "the trainer ends itself", lambda: stack.log("worker"))
        server.start()
        worker.resume()
        assert stack.wait_for(job, "SUCCEEDED")["attempt"] == 2
        assert_whole(stack, job, LONG["epochs"])


def every_child(stack: Stack) -> list[psutil.Process]:
    """What both workers have started."""
    workers = (psutil.Process(stack.pid(name)) for name in ("worker", "second-worker"))
    return [child for worker in workers for child in worker.children(recursive=True)]
