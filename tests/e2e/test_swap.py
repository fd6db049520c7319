"""Promise P5: predictions come only from verified artifacts, each answer from exactly one version (rows 16 and 37)."""

from __future__ import annotations

import io
import json
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest
from networks import publish
from PIL import Image
from stack import Stack, until

from core.artifacts import open_store

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


class TestManySwaps:
    """Networks published without training: each version's answer to the same picture is known and its own."""

    MEAN = 128

    @pytest.fixture
    def serving(self, tmp_path: Path) -> Iterator[Stack]:
        stack = Stack(tmp_path)
        stack.start("api")
        stack.wait_ready()
        yield stack
        stack.close()

    @pytest.mark.parametrize(
        ("swaps", "predictions"),
        [(8, 1_600), pytest.param(50, 10_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])],
    )
    def test_no_request_fails_and_every_answer_is_that_of_one_version(
        self, serving: Stack, swaps: int, predictions: int
    ) -> None:
        store = open_store(serving.settings)

        def publish_next(number: int) -> None:
            made = publish(
                serving.database, store, f"{number}.onnx", threshold=self.threshold(number), val_accuracy=number / 100
            )
            assert made == number

        publish_next(1)
        answers: list[tuple[int, int, float]] = []
        done = threading.Event()

        def ask(url: str) -> None:
            file = io.BytesIO()
            Image.new("L", (8, 8), self.MEAN).save(file, "PNG")
            with closing(HTTPConnection(url.removeprefix("http://"), timeout=30)) as http:
                while not done.is_set():
                    http.request("POST", "/api/v1/predict/lenet", file.getvalue(), {"Content-Type": "image/png"})
                    answer = http.getresponse()
                    said = json.loads(answer.read())
                    version = said["model"]["version"] if answer.status == 200 else 0
                    top = {each["label"]: each["probability"] for each in said["predictions"][0]["top"]}
                    answers.append((answer.status, version, top["bright"]))

        with ThreadPoolExecutor(4) as threads:
            asking = [threads.submit(ask, serving.urls[number % len(serving.urls)]) for number in range(4)]
            try:
                for number in range(2, swaps + 2):
                    publish_next(number)
                    enough = predictions * (number - 1) // swaps
                    until(lambda: answers[-1][1] == number and len(answers) >= enough, 60, f"{number} serves")  # noqa: B023
            finally:
                done.set()
            for each in asking:
                each.result()
        assert len(answers) >= predictions
        assert {status for status, _, _ in answers} == {200}
        assert {version for _, version, _ in answers} == set(range(1, swaps + 2))
        wrong = [(version, said) for _, version, said in answers if abs(said - self.expected(version)) > 1e-5]
        assert wrong == []

    def test_all_api_processes_agree_within_two_seconds(self, serving: Stack) -> None:
        store = open_store(serving.settings)

        def versions() -> set[int]:
            return {
                httpx2.post(f"{url}/api/v1/predict/lenet", content=digit(), headers={"Content-Type": "image/png"})
                .raise_for_status()
                .json()["model"]["version"]
                for url in serving.urls
            }

        publish(serving.database, store, "1.onnx", val_accuracy=0.1)
        assert versions() == {1}
        publish(serving.database, store, "2.onnx", val_accuracy=0.2)
        until(lambda: versions() == {2}, 2, "all serve the second version", lambda: serving.log("api"))

    def threshold(self, version: int) -> float:
        return 127.5 + version / 100

    def expected(self, version: int) -> float:
        """The probability of "bright": logits are the mean's distance from the threshold, and its negative."""
        return 1 / (1 + math.exp(-2 * (self.MEAN - self.threshold(version))))
