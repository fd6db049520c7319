"""Telling changed images from chance: the statistics, without a service."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from core.image_statistics import BINS, mean_distribution, pixel_counts
from service.monitoring.drift import (
    LEAST_IMAGES,
    RECENT_IMAGES,
    Counts,
    Verdict,
    Window,
    add_up,
    compare,
    count_up,
    judge,
    stability_index,
)
from worker.datasets.images import MemoryImages
from worker.reference import reference_statistics

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@pytest.fixture(scope="module")
def digits() -> tuple[Images, Labels]:
    """All 1,797, shuffled, as kerasd imports them."""
    bunch = load_digits()
    order = np.random.default_rng(1).permutation(len(bunch.target))
    images = np.clip(bunch.images * 255 / 16, 0, 255).astype(np.uint8)[order, :, :, None]
    return images, bunch.target.astype(np.int64)[order]


@pytest.fixture(scope="module")
def reference(digits: tuple[Images, Labels]) -> Counts:
    """Of the first 1,257, with predictions of the last 270 by a network that is right."""
    images, labels = digits
    training = MemoryImages(labels[:1257].astype(np.int32), (8, 8, 1), images[:1257])
    return reference_statistics(training, np.diag(np.bincount(labels[-270:], minlength=10)).tolist())


def counted(images: Images, labels: Labels, reference: Counts) -> Counts:
    return count_up(pixel_counts(images), labels, 10)


class TestPixels:
    def test_they_are_counted_for_each_image_and_channel(self) -> None:
        images = np.zeros((2, 4, 4, 3), np.uint8)
        images[1, ..., 0] = 255
        counts = pixel_counts(images)
        assert counts.shape == (2, 3, BINS)
        assert counts[:, 0, 0].tolist() == [16, 0]
        assert counts[1, 0, BINS - 1] == 16
        assert counts.sum(axis=2).tolist() == [[16] * 3] * 2

    def test_of_large_images_a_part_stands_for_all(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (1, 224, 320, 3)).astype(np.uint8)
        counts = pixel_counts(image)
        assert 700 <= counts[0, 0].sum() <= 1024
        np.testing.assert_allclose(mean_distribution(counts), 1 / BINS, atol=0.03)

    def test_numbers_that_are_not_whole_count_too(self) -> None:
        assert pixel_counts(np.full((1, 2, 2, 1), 200.4, np.float32))[0, 0, 200 // 16] == 4


class TestReference:
    def test_it_is_small_and_adds_up(self, reference: Counts) -> None:
        assert reference["images"] == 1257
        assert reference["labels"]["held_out"] == 270
        for fractions in (*reference["pixels"], *(reference["labels"][name] for name in ("training", "predicted"))):
            assert sum(fractions) == pytest.approx(1, abs=1e-4)


class TestVerdicts:
    def test_no_choice_of_held_out_images_is_flagged(self, digits: tuple[Images, Labels], reference: Counts) -> None:
        images, labels = digits[0][-270:], digits[1][-270:]
        for seed in range(200):
            some = np.random.default_rng(seed).permutation(270)[:RECENT_IMAGES]
            drift = compare(counted(images[some], labels[some], reference), reference)
            assert drift.verdict is Verdict.NONE, (seed, drift)

    def test_inverted_images_are(self, digits: tuple[Images, Labels], reference: Counts) -> None:
        images, labels = digits[0][:LEAST_IMAGES], digits[1][:LEAST_IMAGES]
        drift = judge([counted(255 - images, labels, reference)], reference)
        assert drift.verdict is Verdict.DRIFT
        assert drift.inputs is not None
        assert drift.labels is not None
        assert drift.inputs.verdict is Verdict.DRIFT
        assert drift.labels.verdict is Verdict.NONE

    @pytest.mark.parametrize("change", [lambda x: x // 3, lambda x: x // 2 + 100, lambda x: np.full_like(x, 128)])
    def test_darker_paler_and_blank_ones_are(
        self, change: object, digits: tuple[Images, Labels], reference: Counts
    ) -> None:
        images = change(digits[0][:RECENT_IMAGES])  # type: ignore[operator]
        assert compare(counted(images, digits[1][:RECENT_IMAGES], reference), reference).verdict is Verdict.DRIFT

    def test_one_label_for_all_is(self, digits: tuple[Images, Labels], reference: Counts) -> None:
        labels = np.zeros(RECENT_IMAGES, np.int64)
        drift = compare(counted(digits[0][:RECENT_IMAGES], labels, reference), reference)
        assert drift.labels is not None
        assert drift.labels.verdict is Verdict.DRIFT

    def test_a_change_need_not_outweigh_the_past(self, digits: tuple[Images, Labels], reference: Counts) -> None:
        images, labels = digits[0][:800], digits[1][:800]
        window = Window(channels=1)
        window.add(pixel_counts(images), labels)
        window.add(pixel_counts(255 - images[:RECENT_IMAGES]), labels[:RECENT_IMAGES])
        windows = [count_up(*window.last(size), 10) for size in (RECENT_IMAGES, Window.SIZE)]
        drift = judge(windows, reference)
        assert (drift.verdict, drift.images) == (Verdict.DRIFT, RECENT_IMAGES)

    def test_of_few_images_nothing_is_said(self, digits: tuple[Images, Labels], reference: Counts) -> None:
        few = LEAST_IMAGES - 1
        drift = judge([counted(255 - digits[0][:few], digits[1][:few], reference)], reference)
        assert (drift.verdict, drift.images) == (Verdict.TOO_FEW, few)

    def test_several_processes_see_together(self, digits: tuple[Images, Labels], reference: Counts) -> None:
        images, labels = digits[0][:300], digits[1][:300]
        parts = [counted(images[at::2], labels[at::2], reference) for at in (0, 1)]
        together, whole = add_up(parts), counted(images, labels, reference)
        assert together["images"] == 300
        assert together["labels"] == whole["labels"]
        np.testing.assert_allclose(together["pixels"], whole["pixels"], atol=0.01)

    def test_the_index_is_the_published_formula(self) -> None:
        """Siddiqi's, with half an image more in each bin."""
        observed, expected = [20.0, 30.0, 50.0], [0.25, 0.25, 0.5]
        a, b = np.array([20.5, 30.5, 50.5]) / 101.5, np.array([250.5, 250.5, 500.5]) / 1001.5
        index = stability_index(observed, expected, 1000)
        assert index == pytest.approx(float(((a - b) * np.log(a / b)).sum()))
        assert index == pytest.approx(0.05 * np.log(0.25 / 0.2) + 0.05 * np.log(0.3 / 0.25), rel=0.1)


class TestWindow:
    def test_it_keeps_the_last_images_in_order(self) -> None:
        window = Window(channels=1)
        for value in range(Window.SIZE + 5):
            window.add(pixel_counts(np.full((1, 1, 1, 1), value % 256, np.uint8)), np.array([value]))
        pixels, labels = window.last(3)
        assert labels.tolist() == [Window.SIZE + 2, Window.SIZE + 3, Window.SIZE + 4]
        assert pixels[:, 0].argmax(axis=1).tolist() == [label % 256 // 16 for label in labels]
        assert len(window.last()[1]) == Window.SIZE
