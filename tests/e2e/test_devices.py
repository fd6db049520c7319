"""Jobs side by side in one worker, and one job on several devices."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from stack import Stack, until

from core.tables import AttemptRow


def environments(stack: Stack) -> list[dict[str, Any]]:
    """What each attempt ran with, in the order of their starts."""
    with stack.database.snapshot() as session:
        rows = session.scalars(select(AttemptRow).order_by(AttemptRow.started_at)).all()
        return [row.environment for row in rows if row.environment]


class TestSideBySide:
    def test_small_jobs_share_a_worker_and_its_threads(self, stack: Stack) -> None:
        stack.start("valkey")
        stack.start("api")
        stack.wait_ready()
        jobs = [stack.submit(batch_size=4, epochs=100)["id"] for _ in range(2)]
        stack.start("worker", KERASD_SLOTS="2", KERASD_THREADS="2")
        until(
            lambda: all(stack.epochs(job) and stack.state(job) == "RUNNING" for job in jobs),
            90,
            "both train at once",
            lambda: stack.log("worker"),
        )
        assert [each["threads"] for each in environments(stack)] == [1, 1]
        for job in jobs:
            stack.http.post(f"/api/v1/jobs/{job}:cancel")
            stack.wait_for(job, "CANCELLED")
        alone = stack.submit(epochs=1)["id"]
        stack.wait_for(alone, "SUCCEEDED")
        assert environments(stack)[-1]["threads"] == 2

    @pytest.mark.long
    def test_a_worker_leaves_jobs_of_other_queues_alone(self, stack: Stack) -> None:
        stack.start_all(KERASD_QUEUES="cpu")
        elsewhere = stack.submit(epochs=1, queue="gpu", priority=10)["id"]
        stack.wait_for(stack.submit(epochs=1, queue="cpu")["id"], "SUCCEEDED")
        stack.wait_for(stack.submit(epochs=1)["id"], "SUCCEEDED")
        assert stack.state(elsewhere) == "QUEUED"

    def test_the_gpu_queue_without_a_gpu_is_refused_plainly(self, stack: Stack) -> None:
        stack.start("worker", KERASD_QUEUES="gpu", CUDA_VISIBLE_DEVICES="")
        assert stack.wait("worker") != 0
        assert "no GPU" in stack.log("worker")


class TestSeveralDevices:
    @pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adam", marks=pytest.mark.long)])
    def test_they_train_as_one(self, stack: Stack, optimizer: str) -> None:
        """The last batch of an epoch has 23 images, which two devices share unequally."""
        stack.start_all()
        spec = {
            "optimizer": optimizer,
            "epochs": 3,
            "batch_size": 32,
            "dataset": {"name": "digits", "train_limit": 1047},
        }
        one, two = (stack.submit(**spec, devices=devices)["id"] for devices in (1, 2))
        for job in (one, two):
            stack.wait_for(job, "SUCCEEDED")
        for alone, shared in zip(stack.epochs(one), stack.epochs(two), strict=True):
            for figure in ("loss", "val_loss", "accuracy", "val_accuracy"):
                assert shared[figure] == pytest.approx(alone[figure], abs=1e-5), figure
        assert environments(stack)[-1]["devices"] == ["CPU:0", "CPU:1"]
        assert stack.job(two)["evaluation"]["test_accuracy"] == stack.job(one)["evaluation"]["test_accuracy"]

    @pytest.mark.long
    def test_they_go_on_from_a_checkpoint(self, stack: Stack) -> None:
        stack.start_all()
        straight, killed = (stack.submit(devices=2, epochs=4, batch_size=16)["id"] for _ in range(2))
        until(lambda: len(stack.epochs(killed)) >= 2, 120, "two epochs", lambda: stack.log("worker"))
        for trainer in stack.trainers():
            trainer.kill()
        for job in (straight, killed):
            stack.wait_for(job, "SUCCEEDED")
        losses = [[epoch["loss"] for epoch in stack.epochs(job)] for job in (straight, killed)]
        assert losses[1] == pytest.approx(losses[0], abs=1e-3)
