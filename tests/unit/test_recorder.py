"""Counting requests: histograms, and what is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from service.monitoring.histogram import COARSE_SECONDS, SECONDS, Histogram, cumulative, quantile
from service.monitoring.recorder import LOOKS_A_SECOND, LOOKS_AT_ONCE, LOOKS_TOGETHER, MOST_VERSIONS, Recorder
from service.predictions.predictor import scores_of


@dataclass(frozen=True)
class Stub:
    """What a recorder asks of a predictor."""

    name: str = "digits.lenet"
    version: int = 1
    labels: tuple[str, ...] = ("dark", "bright")
    input_shape: tuple[int, int, int] = (2, 2, 1)


class Clock:
    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def run(recorder: Recorder, images: int, predictor: Any = Stub()) -> None:
    logits = np.zeros((images, 2), np.float32)
    recorder.ran(predictor, np.zeros((images, 2, 2, 1), np.uint8), scores_of(logits), 1, 0.001)


class TestHistogram:
    def test_quantiles_lie_within_a_bucket_of_the_truth(self) -> None:
        values = np.random.default_rng(0).lognormal(-6, 1, 5_000)
        histogram = Histogram(SECONDS)
        for value in values:
            histogram.observe(value)
        for fraction in (0.5, 0.95, 0.99):
            found = quantile(histogram.counts, SECONDS, fraction)
            assert found == pytest.approx(np.quantile(values, fraction), rel=0.1)

    def test_of_nothing_there_is_no_quantile(self) -> None:
        assert quantile([0, 0, 0], (1.0, 2.0), 0.5) is None

    def test_beyond_the_last_bound_it_is_the_last_bound(self) -> None:
        assert quantile([0, 0, 3], (1.0, 2.0), 0.5) == 2.0

    def test_metrics_tell_fewer_bounds_and_count_the_same(self) -> None:
        histogram = Histogram(SECONDS)
        for value in (0.00005, 0.0012, 0.0012, 0.0016, 0.7, 100.0):
            histogram.observe(value)
        told = dict(cumulative(histogram, COARSE_SECONDS))
        assert len(told) == len(COARSE_SECONDS) + 1
        assert [told[bound] for bound in ("0.0001", "0.001", "0.002", "0.5", "1", "10", "+Inf")] == [
            1,
            1,
            4,
            4,
            5,
            5,
            6,
        ]


class TestBounds:
    def test_of_a_burst_some_hundred_images_are_looked_at_and_then_some_each_second(self) -> None:
        clock = Clock()
        recorder = Recorder(clock)
        for _ in range(100):
            run(recorder, 10)
        (figures,) = recorder.versions.values()
        assert figures.window.seen == LOOKS_AT_ONCE
        clock.seconds += 1
        for _ in range(100):
            run(recorder, 10)
        assert figures.window.seen == LOOKS_AT_ONCE + LOOKS_A_SECOND
        assert figures.batches.total == 2_000

    def test_single_images_do_not_keep_those_of_large_batches_from_being_looked_at(self) -> None:
        clock = Clock()
        recorder = Recorder(clock)
        run(recorder, int(LOOKS_AT_ONCE))
        (figures,) = recorder.versions.values()
        looks = []
        for _ in range(100):
            for images in (1, 64):
                clock.seconds += 1 / LOOKS_A_SECOND
                before = figures.window.seen
                run(recorder, images)
                looks.append((images, figures.window.seen - before))
        of_batches = [looked for images, looked in looks if images == 64 and looked]
        assert sum(of_batches) >= LOOKS_A_SECOND / 2
        assert min(of_batches) > LOOKS_TOGETHER / 2

    def test_only_so_many_versions_are_remembered(self) -> None:
        clock = Clock()
        recorder = Recorder(clock)
        for version in range(MOST_VERSIONS + 10):
            run(recorder, 1, Stub(version=version))
            clock.seconds += 1
        assert len(recorder.versions) == MOST_VERSIONS
        assert ("digits.lenet", 0) not in recorder.versions
