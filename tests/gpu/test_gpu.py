"""Training on a GPU: death, memory, and what comes of it. Run by make gpu-check."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select
from stack import Stack, until

from core.tables import AttemptRow

pytestmark = pytest.mark.gpu


def on_gpus() -> dict[int, int]:
    """Process ids that hold GPU memory, and how many MiB, as the driver tells."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    return {int(pid): int(memory) for pid, memory in (line.split(",") for line in lines if line.strip())}


def trainers_on_gpus(stack: Stack) -> set[int]:
    return {process.pid for process in stack.trainers()} & on_gpus().keys()


def test_a_job_trains_dies_goes_on_and_predicts(tmp_path: Path) -> None:
    stack = Stack(tmp_path, KERASD_QUEUES="gpu", KERASD_STANDBY="true")
    try:
        stack.start_all()
        job = stack.submit(batch_size=4, epochs=20)["id"]
        until(lambda: len(stack.epochs(job)) >= 2, 300, "two epochs", lambda: stack.log("worker"))
        holding = trainers_on_gpus(stack)
        assert len(holding) == 1, "one trainer holds GPU memory; the standby holds none"
        for process in stack.trainers():
            if process.pid in holding:
                process.kill()
        until(lambda: not holding & on_gpus().keys(), 15, "the killed trainer's memory is free")
        stack.wait_for(job, "SUCCEEDED", seconds=600)
        assert [epoch["epoch"] for epoch in stack.epochs(job)] == list(range(1, 21))
        with stack.database.snapshot() as session:
            attempts = session.scalars(select(AttemptRow).where(AttemptRow.job_id == job)).all()
            assert [(attempt.environment or {})["devices"] for attempt in attempts] == [["GPU:0"]] * 2
        until(lambda: not trainers_on_gpus(stack), 15, "the trainer's memory is free once its job has ended")

        file = io.BytesIO()
        Image.new("L", (32, 32), 128).save(file, "PNG")
        predicted = stack.http.post(
            "/api/v1/predict/lenet?dataset=digits", content=file.getvalue(), headers={"Content-Type": "image/png"}
        )
        assert predicted.status_code == 200, predicted.text
    finally:
        stack.close()
