"""A broker that dies, forgets or falls silent: wake-ups are lost, jobs are not. Numbers are rows of the fault matrix."""

from __future__ import annotations

import time
from typing import Any

import pytest
from proxy import running_proxy
from stack import Stack, until

from core.queues import channel_name
from core.wakeups import celery_app

NEVER = {"KERASD_POLL_SECONDS": "600"}
"""For workers that shall look for work only when they are told to."""


def waiting_wakeups(stack: Stack) -> int:
    """Messages in the broker's queue."""
    with celery_app(stack.settings.broker).connection_for_read() as connection:
        channel: Any = connection.default_channel
        return int(channel.client.llen(channel_name(None)))


def claims(stack: Stack, job: str) -> int:
    return [event.get("cause") for event in stack.events(job)].count("claimed")


def wait_broker(stack: Stack, status: str) -> None:
    """`ready` while the broker answers, `degraded` while it does not."""
    until(lambda: stack.http.get("/readyz").json()["status"] == status, 10, f"the service is {status}")


def train_one(stack: Stack) -> None:
    """Returns when a job is done and the worker waits for the next."""
    stack.wait_for(stack.submit(epochs=1)["id"], "SUCCEEDED")
    until(lambda: "attempt ended" in stack.log("worker"), 30, "the worker is free", lambda: stack.log("worker"))


class TestRestarted:
    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_with_its_data_kept_nothing_is_refused_and_nothing_runs_twice(self, stack: Stack) -> None:
        """Row 7."""
        kept = ("--appendonly", "yes", "--appendfsync", "always", "--dir", str(stack.folder))
        stack.start("valkey", *kept)
        stack.start("api")
        stack.wait_ready()
        jobs = [stack.submit(epochs=1)["id"] for _ in range(3)]
        stack.kill("valkey")
        jobs.append(stack.submit(epochs=1)["id"])  # nobody could be told of it
        stack.start("valkey", *kept)
        wait_broker(stack, "ready")
        assert waiting_wakeups(stack) == 3
        stack.start("worker")
        jobs.append(stack.submit(epochs=1)["id"])
        until(lambda: stack.job(jobs[0])["state"] == "RUNNING", 60, "a job runs", lambda: stack.log("worker"))
        stack.kill("valkey")
        stack.start("valkey", *kept)
        assert {stack.wait_for(job, "SUCCEEDED")["attempt"] for job in jobs} == {1}
        assert {claims(stack, job) for job in jobs} == {1}

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_empty_the_waiting_jobs_run_within_30_s(self, stack: Stack) -> None:
        """Row 8."""
        stack.start("valkey")
        stack.start("api")
        stack.wait_ready()
        jobs = [stack.submit(epochs=1)["id"] for _ in range(2)]
        stack.kill("valkey")
        stack.start("valkey")
        wait_broker(stack, "ready")
        assert waiting_wakeups(stack) == 0
        stack.start("worker")
        for job in jobs:
            stack.wait_for(job, "RUNNING", "SUCCEEDED", seconds=30)

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_a_worker_hears_it_again(self, stack: Stack) -> None:
        """Row 8: this worker looks for work only when it is woken."""
        stack.start_all(**NEVER)
        train_one(stack)
        stack.kill("valkey")
        lost = stack.submit(epochs=1)["id"]
        stack.start("valkey")
        wait_broker(stack, "ready")
        stack.submit(epochs=1)
        stack.wait_for(lost, "RUNNING", "SUCCEEDED", seconds=30)


class TestHalfOpen:
    def test_a_silent_broker_costs_a_submit_a_moment_and_is_reported(self, stack: Stack) -> None:
        """Row 9."""
        stack.start("valkey")
        with running_proxy(stack.settings.broker) as proxy:
            stack.start("api", KERASD_BROKER_URL=proxy.url)
            stack.wait_ready()
            wait_broker(stack, "ready")
            stack.submit(epochs=1)
            proxy.hold()
            began = time.monotonic()
            stack.submit(epochs=1)
            assert time.monotonic() - began < 5
            began = time.monotonic()
            ready = stack.http.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
            assert time.monotonic() - began < 5
            proxy.let_go()
            wait_broker(stack, "ready")

    @pytest.mark.long
    @pytest.mark.timeout(400)
    def test_a_worker_hears_it_again(self, stack: Stack) -> None:
        """Row 9: this worker looks for work only when it is woken."""
        stack.start("valkey")
        with running_proxy(stack.settings.broker) as proxy:
            for part in ("api", "worker"):
                stack.start(part, KERASD_BROKER_URL=proxy.url, **NEVER)
            stack.wait_ready()
            train_one(stack)
            proxy.hold()
            jobs = [stack.submit(epochs=1)["id"]]
            wait_broker(stack, "degraded")
            proxy.let_go()
            wait_broker(stack, "ready")
            jobs.append(stack.submit(epochs=1)["id"])
            for job in jobs:
                stack.wait_for(job, "SUCCEEDED", seconds=60)
