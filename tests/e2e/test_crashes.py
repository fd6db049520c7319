"""Faults injected for real: killed processes, lost and repeated messages. Numbers are rows of the fault matrix."""

from __future__ import annotations

import signal
from typing import Any

import httpx2
import psutil
import pytest
from stack import Stack, until

from core.wakeups import WakeUps

SPEC = {"dataset": "digits", "architecture": "lenet", "epochs": 2}
LONG = 5_000
"""Epochs that no test waits for."""


def submit_and_lose_the_answer(stack: Stack, key: str) -> None:
    with pytest.raises(httpx2.TransportError):
        stack.http.post("/api/v1/jobs", json=SPEC, headers={"Idempotency-Key": key})


def jobs_of(stack: Stack) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = stack.http.get("/api/v1/jobs").json()["items"]
    return items


class TestApiKilledDuringSubmit:
    """Promise P1: a 2xx on submit is never lost, and a retry with the key never makes a second job (rows 4 to 6)."""

    @pytest.mark.parametrize(
        ("point", "jobs_left"),
        [("submit.before_commit", 0), ("submit.after_commit", 1), ("submit.before_answer", 1)],
    )
    def test_a_retry_with_the_key_finds_or_makes_the_one_job(self, stack: Stack, point: str, jobs_left: int) -> None:
        stack.start("valkey")
        stack.start("api", KERASD_FAILPOINT=point)
        stack.wait_ready()
        submit_and_lose_the_answer(stack, "the-key")
        stack.start("api")
        stack.wait_ready()
        assert len(jobs_of(stack)) == jobs_left

        answer = stack.http.post("/api/v1/jobs", json=SPEC, headers={"Idempotency-Key": "the-key"})
        assert answer.status_code == 201
        assert [job["id"] for job in jobs_of(stack)] == [answer.json()["id"]]

    def test_a_job_committed_but_never_announced_is_found(self, stack: Stack) -> None:
        stack.start("valkey")
        stack.start("api", KERASD_FAILPOINT="submit.after_commit")
        stack.wait_ready()
        submit_and_lose_the_answer(stack, "the-key")
        stack.start("api")
        stack.start("worker")
        stack.wait_ready()
        job_id = jobs_of(stack)[0]["id"]
        stack.wait_for(job_id, "RUNNING", "SUCCEEDED")


class TestWakeUps:
    def test_fifty_copies_train_once(self, service: Stack) -> None:
        """Row 22."""
        job = service.submit(**{**SPEC, "epochs": 3})
        wakeups = WakeUps(service.settings.broker)
        for _ in range(50):
            assert wakeups.send(job["id"])
        ended = service.wait_ended(job["id"])
        assert (ended["state"], ended["attempt"]) == ("SUCCEEDED", 1)
        claims = [event for event in service.events(job["id"]) if event.get("cause") == "claimed"]
        assert len(claims) == 1

    def test_without_a_broker_jobs_are_taken_and_trained_all_the_same(self, stack: Stack) -> None:
        stack.start("api")
        stack.start("worker")
        stack.wait_ready()
        assert stack.http.get("/readyz").json()["status"] == "degraded"
        assert stack.wait_ended(stack.submit(epochs=1)["id"])["state"] == "SUCCEEDED"


class TestTrainerKilled:
    """Rows 20 and 21; row 1 is in test_survival.py."""

    @pytest.mark.long
    def test_another_attempt_follows_without_a_gap_or_a_duplicate(self, service: Stack) -> None:
        job = service.submit(epochs=30)
        until(lambda: service.job(job["id"])["progress"]["epoch"] >= 2, 60, "the second epoch runs")
        training_process(service).kill()
        ended = service.wait_ended(job["id"])
        assert (ended["state"], ended["attempt"]) == ("SUCCEEDED", 2)
        epochs = service.epochs(job["id"])
        assert [epoch["epoch"] for epoch in epochs] == list(range(1, 31))
        lost = [event for event in service.events(job["id"]) if event.get("cause") == "lost"]
        assert "SIGKILL" in lost[0]["detail"]

    def test_two_native_crashes_are_the_end(self, service: Stack) -> None:
        job = service.submit(epochs=LONG)
        for attempt in (1, 2):
            until(lambda n=attempt: running(service, job["id"], n), 90, f"attempt {attempt} trains")  # type: ignore[misc]
            training_process(service).send_signal(signal.SIGSEGV)
        ended = service.wait_ended(job["id"])
        assert (ended["state"], ended["reason"], ended["attempt"]) == ("FAILED", "NATIVE_CRASH", 2)

    def test_a_poison_job_ends_after_three_attempts_and_others_proceed(self, stack: Stack) -> None:
        """Row 21."""
        stack.start_all()
        poison, other = (stack.submit(epochs=1)["id"] for _ in range(2))
        for attempt in (1, 2, 3):
            until(lambda n=attempt: starting(stack, poison, n), 60, f"attempt {attempt} starts").kill()  # type: ignore[misc]
        ended = stack.wait_ended(poison)
        assert (ended["state"], ended["reason"], ended["attempt"]) == ("FAILED", "WORKER_LOST", 3)
        assert "gave up after 3 attempts" in ended["detail"]
        assert stack.wait_ended(other)["state"] == "SUCCEEDED"


class TestWorkerKilled:
    """Row 3."""

    def test_its_trainers_die_and_the_next_worker_goes_on_at_once(self, stack: Stack) -> None:
        stack.start_all()
        job = stack.submit(epochs=LONG)
        until(lambda: running(stack, job["id"], 1), 90, "the attempt trains")
        trainers = stack.trainers()
        stack.kill("worker")
        until(lambda: all(not alive(trainer) for trainer in trainers), 10, "no trainer is left")
        stack.start("worker")
        # The dead holder is recognised on the same host: nobody waits for its lease of 30 s.
        until(lambda: stack.job(job["id"])["attempt"] == 2, 20, "the next attempt starts")
        stack.http.post(f"/api/v1/jobs/{job['id']}:cancel")
        assert stack.wait_ended(job["id"])["state"] == "CANCELLED"

    @pytest.mark.long
    def test_a_worker_that_stops_gracefully_gives_its_job_back(self, stack: Stack) -> None:
        stack.start_all()
        job = stack.submit(epochs=LONG, max_attempts=1)
        until(lambda: running(stack, job["id"], 1), 90, "the attempt trains")
        assert stack.kill("worker", signal.SIGTERM) == 0
        left = stack.job(job["id"])
        assert left["state"] == "QUEUED"
        assert "waiting for another" in left["detail"]
        stack.start("worker")
        until(lambda: running(stack, job["id"], 2), 90, "the next attempt trains, although max_attempts is 1")


def starting(stack: Stack, job_id: str, attempt: int) -> psutil.Process | None:
    """The trainer of the attempt once there is one. The stack keeps none warm."""
    if stack.job(job_id)["attempt"] != attempt:
        return None
    return next((trainer for trainer in stack.trainers() if alive(trainer)), None)


def running(stack: Stack, job_id: str, attempt: int) -> bool:
    job = stack.job(job_id)
    return bool(
        job["state"] == "RUNNING" and job["attempt"] == attempt and job["progress"]["step"] and stack.epochs(job_id)
    )


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def training_process(stack: Stack) -> psutil.Process:
    """The trainer at work: the standby was started after it."""
    return min(stack.trainers(), key=lambda process: float(process.create_time()))
