"""What is measured of a network when it is published."""

from __future__ import annotations

import time

import numpy as np
import pytest
from networks import SIDE, brightness_network
from numpy.typing import NDArray

from core.repositories.results import StoredArtifact
from worker.cards import measure_latency, model_sizes

SHAPE = (SIDE, SIDE, 1)


class TestLatency:
    def test_it_is_milliseconds_of_a_run_with_the_threads_it_was_measured_with(self) -> None:
        started = time.perf_counter()
        measured = measure_latency(brightness_network(), SHAPE, threads=1)
        elapsed = (time.perf_counter() - started) * 1000
        assert measured["threads"] == 1
        assert 0 < measured["batch_1_ms"] < elapsed
        assert 0 < measured["batch_32_ms"] < elapsed

    @pytest.mark.parametrize(
        ("milliseconds", "many"),
        [
            (50.0, None),
            (6.0, 192.0),
            (0.5, 16.0),
        ],
    )
    def test_it_takes_a_third_of_a_second_at_most(
        self, milliseconds: float, many: float | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The clock is the test's: a network of so many milliseconds for each image."""
        now = [0.0]

        def run(pixels: NDArray[np.float32]) -> None:
            now[0] += milliseconds / 1000 * len(pixels)

        monkeypatch.setattr("worker.cards._run_on_cpu", lambda content, threads: run)
        monkeypatch.setattr("worker.cards.time.perf_counter", lambda: now[0])
        measured = measure_latency(b"", SHAPE, threads=2)
        assert measured == {"batch_1_ms": milliseconds, "batch_32_ms": many, "threads": 2}
        assert now[0] < 0.33


def test_sizes_are_those_of_the_files() -> None:
    onnx, weights = StoredArtifact("onnx", "a", "0" * 64, 1000), StoredArtifact("weights", "b", "0" * 64, 900)
    assert model_sizes(42, onnx, weights) == {"parameters": 42, "onnx_bytes": 1000, "weights_bytes": 900}
