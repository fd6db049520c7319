"""Promise P5: predictions come only from verified artifacts, each answer from exactly one version (rows 16 and 37)."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from PIL import Image
from stack import Stack, until

VIEW = {"name": "digits", "seed": 21}


def digit() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((8, 8)).save(file, "PNG")
    return file.getvalue()


def predict(service: Stack, view: str, **query: Any) -> httpx2.Response:
    return service.http.post(
        "/api/v1/predict/lenet",
        content=digit(),
        headers={"Content-Type": "image/png"},
        params={"dataset": view, **query},
    )


@contextmanager
def steady_load(service: Stack, view: str) -> Iterator[list[tuple[float, int, Any]]]:
    """Predicts without a pause from two threads; yields the growing list of (time, status, answer)."""
    answers: list[tuple[float, int, Any]] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx2.Client(base_url=service.url, timeout=30) as http:
            while not stop.is_set():
                answer = http.post(
                    "/api/v1/predict/lenet",
                    content=digit(),
                    headers={"Content-Type": "image/png"},
                    params={"dataset": view},
                )
                answers.append((time.time(), answer.status_code, answer.json()))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class TestSwap:
    def test_a_better_model_serves_within_two_seconds_and_no_request_fails(self, service: Stack) -> None:
        first = service.wait_for(service.submit(dataset=VIEW, epochs=1)["id"], "SUCCEEDED")
        view = first["model"]["name"].removesuffix(".lenet")
        assert predict(service, view).json()["model"]["version"] == 1
        with steady_load(service, view) as answers:
            second = service.wait_for(service.submit(dataset=VIEW, epochs=6)["id"], "SUCCEEDED")
            assert second["best_epoch"]["val_accuracy"] > first["best_epoch"]["val_accuracy"]
            until(lambda: answers[-1][2]["model"]["version"] == 2, 10, "version 2 answers")
        assert {status for _, status, _ in answers} == {200}
        # The same picture has one answer from each version: a mixture of two would show a third.
        seen = {
            (answer["model"]["version"], answer["model"]["job"], answer["predictions"][0]["label"])
            for _, _, answer in answers
        }
        assert {(version, job) for version, job, _ in seen} == {(1, first["id"]), (2, second["id"])}
        assert len(seen) == 2

        from datetime import datetime

        finished = datetime.fromisoformat(second["finished_at"]).timestamp()
        served = min(moment for moment, _, answer in answers if answer["model"]["version"] == 2)
        assert served - finished < 2.0

    def test_a_version_can_be_asked_for_and_best_means_any_architecture(self, service: Stack) -> None:
        jobs = [service.submit(dataset={"name": "digits", "seed": seed}, epochs=1)["id"] for seed in (22, 23)]
        job, _ = [service.wait_for(job_id, "SUCCEEDED") for job_id in jobs]
        view = job["model"]["name"].removesuffix(".lenet")
        assert predict(service, view, version=1).json()["model"]["job"] == job["id"]
        best = service.http.post(
            "/api/v1/predict/best", content=digit(), headers={"Content-Type": "image/png"}, params={"dataset": view}
        )
        assert best.json()["model"]["job"] == job["id"]
        refused = service.http.post("/api/v1/predict/lenet", content=digit(), headers={"Content-Type": "image/png"})
        assert (refused.status_code, refused.json()["code"]) == (409, "dataset_required")
        assert view in refused.json()["detail"]

    @pytest.mark.long
    def test_a_flipped_bit_keeps_the_version_from_loading(self, stack: Stack) -> None:
        """Row 16."""
        stack.start_all()
        good = stack.wait_for(stack.submit(dataset=VIEW, epochs=1)["id"], "SUCCEEDED")
        view = good["model"]["name"].removesuffix(".lenet")
        stack.kill("api")
        better = stack.submit_directly(dataset=VIEW, epochs=6)
        until(lambda: stack.state(better) == "SUCCEEDED", 120, "the better model is published")
        artifact = next((stack.settings.data_dir / "artifacts" / "local" / better).rglob("model.onnx"))
        content = bytearray(artifact.read_bytes())
        content[len(content) // 2] ^= 1
        artifact.write_bytes(content)
        stack.start("api")
        stack.wait_ready()
        answer = until(
            lambda: found if (found := predict(stack, view, version=2)).status_code != 404 else None, 10, "an answer"
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "artifact_corrupt")
        assert predict(stack, view, version=1).json()["model"]["job"] == good["id"]
        assert predict(stack, view).json()["model"]["job"] == good["id"]
