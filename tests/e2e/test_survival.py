"""Jobs go on where they stood: after a crash, a pause, a retry. Numbers are rows of the fault matrix."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import numpy_helper
from stack import Stack, until
from training import SLOW, assert_whole, resumption, trainer_of, wait_epochs

MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def history(stack: Stack, job: str) -> list[list[float]]:
    return [[entry[name] for name in MEASURED] for entry in stack.epochs(job)]


def published_weights(stack: Stack, job: str) -> list[tuple[tuple[int, ...], bytes]]:
    """Shapes and bytes; the names count the operations of an export."""
    file = next((stack.settings.data_dir / "artifacts" / "local" / job).rglob("model.onnx"))
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer]
    return sorted((array.shape, array.tobytes()) for array in arrays if array.dtype == np.float32)


def checkpoints(stack: Stack, job: str) -> list[Path]:
    """Oldest first."""
    folder = stack.settings.data_dir / "artifacts" / "checkpoints" / job
    return sorted(folder.glob("*"), key=lambda file: int(file.name.partition("-")[2]))


class TestTrainerKilled:
    def test_it_goes_on_from_the_last_epoch_within_15_s(self, stack: Stack) -> None:
        """Row 1."""
        stack.start_all()
        job = stack.submit(**SLOW)["id"]
        wait_epochs(stack, job, 2)
        trainer_of(stack, job).kill()
        killed = time.monotonic()
        until(lambda: stack.job(job)["attempt"] == 2 and stack.job(job)["progress"]["step"] > 0, 15, "it trains again")
        assert time.monotonic() - killed < 15
        ended = stack.wait_for(job, "SUCCEEDED")
        assert ended["attempt"] == 2
        assert_whole(stack, job, 6)
        resumed = resumption(stack, job)
        assert resumed["resumed_after_epoch"] >= 2
        assert not checkpoints(stack, job)

    @pytest.mark.long
    def test_a_deterministic_job_ends_as_if_nothing_had_happened(self, stack: Stack) -> None:
        stack.start_all()
        spec = {**SLOW, "epochs": 4, "deterministic": True}
        straight = stack.submit(**spec)["id"]
        stack.wait_for(straight, "SUCCEEDED")
        killed = stack.submit(**spec)["id"]
        wait_epochs(stack, killed, 2)
        trainer_of(stack, killed).kill()
        assert stack.wait_for(killed, "SUCCEEDED")["attempt"] == 2
        assert history(stack, killed) == history(stack, straight)
        assert published_weights(stack, killed) == published_weights(stack, straight)

    @pytest.mark.long
    def test_killed_between_a_checkpoint_s_file_and_its_row(self, stack: Stack) -> None:
        """Row 2: the epoch is lost with it, the one before is not."""
        stack.start("valkey")
        stack.start("api")
        stack.start("worker", KERASD_FAILPOINT="checkpoint.after_file")
        stack.wait_ready()
        job = stack.submit(epochs=3, max_attempts=50)["id"]
        until(lambda: stack.job(job)["attempt"] >= 2, 60, "it was killed", lambda: stack.log("worker"))
        assert stack.epochs(job) == []
        stack.kill("worker")
        stack.start("worker")
        stack.wait_for(job, "SUCCEEDED")
        assert_whole(stack, job, 3)

    @pytest.mark.long
    def test_killed_after_the_last_epoch_it_only_publishes(self, stack: Stack) -> None:
        stack.start("valkey")
        stack.start("api")
        stack.start("worker", KERASD_FAILPOINT="attempt.before_finish")
        stack.wait_ready()
        job = stack.submit(epochs=2, max_attempts=50)["id"]
        until(lambda: stack.job(job)["attempt"] >= 2, 60, "it was killed", lambda: stack.log("worker"))
        stack.kill("worker")
        stack.start("worker")
        stack.wait_for(job, "SUCCEEDED")
        assert_whole(stack, job, 2)
        assert {event["attempt"] for event in stack.events(job) if event["kind"] == "epoch"} == {1}


class TestDamagedCheckpoints:
    def stopped_after(self, stack: Stack, epochs: int) -> str:
        stack.start_all()
        job = str(stack.submit(**SLOW)["id"])
        wait_epochs(stack, job, epochs)
        stack.kill("worker")
        return job

    @pytest.mark.long
    def test_the_older_one_is_used_when_the_newest_is_torn(self, stack: Stack) -> None:
        """Row 15."""
        job = self.stopped_after(stack, 3)
        older, newest = checkpoints(stack, job)
        with newest.open("r+b") as file:
            file.truncate(newest.stat().st_size // 2)
        stack.start("worker")
        stack.wait_for(job, "SUCCEEDED")
        assert_whole(stack, job, 6)
        resumed = resumption(stack, job)
        assert resumed["resumed_after_epoch"] == int(older.name.partition("-")[2])
        assert "cannot be used" in resumed["troubles"][0]

    @pytest.mark.long
    def test_without_a_good_one_it_starts_again_and_says_so(self, stack: Stack) -> None:
        """Row 15."""
        job = self.stopped_after(stack, 2)
        for file in checkpoints(stack, job):
            file.write_bytes(b"torn")
        stack.start("worker")
        stack.wait_for(job, "SUCCEEDED")
        assert_whole(stack, job, 6)
        resumed = resumption(stack, job)
        assert resumed["resumed_after_epoch"] == 0
        assert len(resumed["troubles"]) == 2


class TestWorkerStopped:
    @pytest.mark.parametrize(
        "signals",
        [
            [signal.SIGTERM],
            pytest.param([signal.SIGTERM, signal.SIGTERM, signal.SIGKILL], marks=pytest.mark.long),
        ],
    )
    def test_the_job_is_given_back_and_goes_on_elsewhere(self, stack: Stack, signals: list[signal.Signals]) -> None:
        """Row 25."""
        stack.start_all()
        job = stack.submit(**SLOW, max_attempts=1)["id"]
        wait_epochs(stack, job, 1)
        process = psutil.Process(stack.pid("worker"))
        for number in signals[:-1]:
            process.send_signal(number)
        stack.kill("worker", signals[-1])
        stack.start("worker")
        ended = stack.wait_for(job, "SUCCEEDED")
        assert ended["attempt"] == 2
        assert_whole(stack, job, 6)


class TestStalled:
    @pytest.mark.long
    def test_a_trainer_that_hangs_is_ended(self, tmp_path: Path) -> None:
        """Row 28."""
        stack = Stack(tmp_path, KERASD_STALL_SECONDS="30", KERASD_STANDBY="false")
        try:
            stack.start_all()
            job = stack.submit(batch_size=1, epochs=50, max_attempts=1)["id"]
            trainer = trainer_of(stack, job)
            trainer.send_signal(signal.SIGSTOP)
            ended = stack.wait_for(job, "FAILED", "SUCCEEDED")
            if ended["state"] == "FAILED":
                assert ended["reason"] == "STALLED"
            until(lambda: not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE, 10, "it is gone")
            assert ended["state"] == "FAILED"
        finally:
            stack.close()


class TestPause:
    def test_a_running_job_pauses_after_its_epoch_and_goes_on(self, stack: Stack) -> None:
        stack.start_all()
        job = stack.submit(**SLOW)["id"]
        wait_epochs(stack, job, 1)
        answer = stack.http.post(f"/api/v1/jobs/{job}:pause")
        assert answer.json()["state"] == "PAUSING"
        assert stack.http.post(f"/api/v1/jobs/{job}:resume").status_code == 409
        paused = stack.wait_for(job, "PAUSED")
        done = len(stack.epochs(job))
        assert 1 <= done < 6
        assert paused["progress"]["epoch"] == done
        assert stack.http.post(f"/api/v1/jobs/{job}:pause").status_code == 200
        other = stack.submit(epochs=1)["id"]  # the worker is free
        stack.wait_for(other, "SUCCEEDED")
        assert stack.http.post(f"/api/v1/jobs/{job}:resume").json()["state"] == "QUEUED"
        assert stack.wait_for(job, "SUCCEEDED")["attempt"] == 2
        assert_whole(stack, job, 6)

    def test_a_queued_job_pauses_at_once(self, stack: Stack) -> None:
        stack.start("valkey")
        stack.start("api")
        stack.wait_ready()
        job = stack.submit(epochs=1)["id"]
        assert stack.http.post(f"/api/v1/jobs/{job}:pause").json()["state"] == "PAUSED"
        stack.start("worker")
        other = stack.submit(epochs=1)["id"]
        stack.wait_for(other, "SUCCEEDED")
        assert stack.job(job)["state"] == "PAUSED"
        assert stack.http.post(f"/api/v1/jobs/{job}:cancel").json()["state"] == "CANCELLED"


class TestCancelKeepingTheBest:
    def test_the_best_epoch_is_published_and_the_job_cancelled(self, stack: Stack) -> None:
        stack.start_all()
        job = stack.submit(batch_size=2, epochs=100_000)["id"]
        wait_epochs(stack, job, 1)
        assert stack.http.post(f"/api/v1/jobs/{job}:cancel", json={"keep_best": True}).json()["state"] == "CANCELLING"
        ended = stack.wait_for(job, "CANCELLED")
        assert ended["reason"] == "USER_CANCELLED"
        assert ended["model"] == {"name": "digits.lenet", "version": 1}
        assert ended["evaluation"]["test_accuracy"] > 0.3
        assert stack.http.post(f"/api/v1/jobs/{job}:retry").status_code == 409

    def test_there_is_nothing_to_keep_of_a_waiting_one(self, stack: Stack) -> None:
        stack.start("valkey")
        stack.start("api")
        stack.wait_ready()
        job = stack.submit(epochs=1)["id"]
        answer = stack.http.post(f"/api/v1/jobs/{job}:cancel", json={"keep_best": True})
        assert answer.status_code == 409
        assert answer.json()["code"] == "invalid_transition"


class TestRetry:
    @pytest.mark.long
    @pytest.mark.parametrize(("start", "first_attempt_epochs"), [("checkpoint", True), ("scratch", False)])
    def test_a_cancelled_job_is_tried_again(self, stack: Stack, start: str, first_attempt_epochs: bool) -> None:
        stack.start_all()
        job = stack.submit(**SLOW)["id"]
        wait_epochs(stack, job, 2)
        assert stack.http.post(f"/api/v1/jobs/{job}:retry").status_code == 409
        stack.http.post(f"/api/v1/jobs/{job}:cancel")
        stack.wait_for(job, "CANCELLED")
        again = stack.http.post(f"/api/v1/jobs/{job}:retry", json={"from": start}).json()
        assert again["state"] == "QUEUED"
        assert again["reason"] is None
        ended = stack.wait_for(job, "SUCCEEDED")
        assert ended["finished_at"]
        assert_whole(stack, job, 6)
        from_first = stack.http.get(f"/api/v1/jobs/{job}/logs").text.count("goes on after epoch")
        assert bool(from_first) == first_attempt_epochs
