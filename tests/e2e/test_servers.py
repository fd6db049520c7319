"""A cluster: PostgreSQL, a Valkey server, two API processes, several workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from servers import Postgres
from sqlalchemy import select
from stack import Stack, until
from topology import Cluster
from training import wait_epochs

from core.states import State
from core.tables import AttemptRow, EpochRow, JobRow, ModelVersionRow

LONG = {"batch_size": 4, "epochs": 5_000}
DRAINED_JOBS = 200
DRAINING_WORKERS = 4
DRAIN_SECONDS = 3600


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    with closing(Stack(folder, Cluster(postgres), KERASD_STANDBY="false")) as stack:
        stack.start_all()
        stack.start("worker", name="second-worker")
        yield stack


def worker_of(stack: Stack, job: str) -> str:
    """The part that claimed the job last."""
    claims = [event["worker"] for event in stack.events(job) if event.get("cause") == "claimed"]
    pid = int(claims[-1].rpartition(":")[2])
    return next(name for name in ("worker", "second-worker") if stack.pid(name) == pid)


class TestCluster:
    def test_jobs_are_trained_once_each_and_served(self, cluster: Stack) -> None:
        jobs = [cluster.submit(epochs=2, seed=seed)["id"] for seed in range(2)]
        ended = [cluster.wait_for(job, "SUCCEEDED") for job in jobs]
        assert {job["attempt"] for job in ended} == {1}
        assert sorted(job["model"]["version"] for job in ended) == [1, 2]
        assert {worker_of(cluster, job) for job in jobs} == {"worker", "second-worker"}
        best = max(ended, key=lambda job: (job["best_epoch"]["val_accuracy"], -job["model"]["version"]))
        for url in cluster.urls:
            until(lambda url=url: served_version(url) == best["model"]["version"], 10, "each API serves the best")  # type: ignore[misc]

    def test_events_come_through_either_api_and_a_stream_goes_on_at_the_other(self, cluster: Stack) -> None:
        job = cluster.submit(epochs=3)["id"]
        first = stream(cluster.urls[0], job, stop_after=3)
        rest = stream(cluster.urls[1], job, after=first[-1])
        assert [*first, *rest] == list(range(1, len(first) + len(rest) + 1))
        assert stream(cluster.urls[0], job) == [*first, *rest]

    @pytest.mark.long
    def test_another_worker_goes_on_after_one_is_killed(self, cluster: Stack) -> None:
        """Row 3, while the other worker lives."""
        job = cluster.submit(**LONG)["id"]
        wait_epochs(cluster, job, 1)
        killed = worker_of(cluster, job)
        cluster.kill(killed)
        until(lambda: cluster.job(job)["attempt"] == 2, 20, "the other worker has it")
        done = len(cluster.epochs(job))
        until(lambda: len(cluster.epochs(job)) > done, 60, "it goes on", lambda: cluster.log("second-worker"))
        assert cluster.cancel(job)["attempt"] == 2
        cluster.start("worker", name=killed)  # as the other tests expect it


def served_version(url: str) -> Any:
    answer = httpx2.post(f"{url}/api/v1/predict/lenet", json={"instances": [[[[0]] * 32] * 32]})
    return answer.json()["model"]["version"]


def stream(url: str, job: str, after: int = 0, stop_after: int | None = None) -> list[int]:
    """Ids of the job's events as one API streams them, to the job's end unless `stop_after` so many."""
    ids: list[int] = []
    with (
        httpx2.Client(timeout=60) as http,
        http.stream("GET", f"{url}/api/v1/jobs/{job}/events", headers={"Last-Event-ID": str(after)}) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("id:"):
                ids.append(int(line.removeprefix("id:")))
            if stop_after is not None and len(ids) == stop_after:
                break
    return ids


class TestDrain:
    @pytest.mark.long
    @pytest.mark.timeout(DRAIN_SECONDS + 300)
    def test_four_workers_drain_200_jobs_and_run_none_twice(self, postgres: Postgres, tmp_path: Path) -> None:
        with closing(Stack(tmp_path, Cluster(postgres), KERASD_STANDBY="false")) as stack:
            for part in ("valkey", "api"):
                stack.start(part)
            stack.wait_ready()
            short = {"dataset": {"name": "digits", "train_limit": 100}, "epochs": 1}
            jobs = [stack.submit(**short, seed=seed)["id"] for seed in range(DRAINED_JOBS)]
            for number in range(DRAINING_WORKERS):
                stack.start("worker", name=f"worker-{number}")
            until(
                lambda: ended(stack) == len(jobs), DRAIN_SECONDS, "all jobs have ended", lambda: stack.log("worker-0")
            )
            assert_each_ran_once(stack, jobs)


def ended(stack: Stack) -> int:
    with stack.database.snapshot() as session:
        return sum(State(state).terminal for state in session.scalars(select(JobRow.state)))


def assert_each_ran_once(stack: Stack, jobs: list[str]) -> None:
    with stack.database.snapshot() as session:
        states = {row.id: row.state for row in session.scalars(select(JobRow))}
        attempts = session.scalars(select(AttemptRow)).all()
        epochs = session.scalars(select(EpochRow)).all()
        versions = session.scalars(select(ModelVersionRow)).all()
    assert states == dict.fromkeys(jobs, State.SUCCEEDED)
    assert sorted((row.job_id, row.number, row.outcome) for row in attempts) == sorted(
        (job, 1, "succeeded") for job in jobs
    )
    assert sorted((row.job_id, row.epoch, row.attempt) for row in epochs) == sorted((job, 1, 1) for job in jobs)
    assert sorted(row.job_id for row in versions) == sorted(jobs)
    assert sorted(row.version for row in versions) == list(range(1, len(jobs) + 1))
    assert len({row.worker for row in attempts}) == DRAINING_WORKERS
