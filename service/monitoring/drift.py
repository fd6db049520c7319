"""Whether live images, and what is predicted of them, still look like the training set's.

The measure is the population stability index, sum((observed - expected) ln(observed / expected)) over bins. Custom takes
0.1 for suspicious and 0.25 for a real change (Siddiqi, Credit Risk Scorecards, 2006). Of few images it is large by chance
alone: where nothing has changed, it is distributed like (1/n + 1/m) chi-squared with bins - 1 degrees of freedom, for n
images observed and m expected from (Yurdakul, Statistical Properties of the Population Stability Index, 2018). So both
thresholds are raised to what chance exceeds once in ten thousand, and in a million, times.

Of the images only their pixel values are compared. How bright and how rich in contrast each image is as a whole was tried
and left out: images that come one after the other resemble each other in that, and a quarter of all runs of 200 images of
MNIST's own test split, where each writer's digits follow each other, scored above 0.25, up to 2.1. Their pixel values
scored 0.05 at most, and those of inverted images 3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.image_statistics import BINS, PixelCounts, mean_distribution

LEAST_IMAGES = 100
RECENT_IMAGES = 200
"""are compared by themselves too: a change should not have to outweigh the whole window first"""

SUSPICIOUS, CHANGED = 0.1, 0.25
CHANCE_SUSPICIOUS, CHANCE_CHANGED = 3.719, 4.753
"""standard normal quantiles of 1 - 1e-4 and 1 - 1e-6"""

Counts = dict[str, Any]
"""images; pixels (channels, BINS) and labels (classes), each summed over images"""


class Verdict(StrEnum):
    """From the least to the most worrying."""

    NO_REFERENCE = "no_reference"
    TOO_FEW = "too_few"
    NONE = "none"
    SUSPECTED = "suspected"
    DRIFT = "drift"


_ORDER = list(Verdict)


@dataclass(frozen=True)
class Comparison:
    """A score with the thresholds that it is judged by."""

    score: float
    suspected_above: float
    drift_above: float

    @property
    def verdict(self) -> Verdict:
        if self.score > self.drift_above:
            return Verdict.DRIFT
        return Verdict.SUSPECTED if self.score > self.suspected_above else Verdict.NONE


@dataclass(frozen=True)
class Drift:
    """What a number of images says; `inputs` is the channel that has changed most."""

    verdict: Verdict
    images: int
    inputs: Comparison | None = None
    labels: Comparison | None = None


def count_up(pixels: PixelCounts, labels: NDArray[np.int64], classes: int) -> Counts:
    """Of the images looked at and the labels predicted for them."""
    images = len(labels)
    summed = mean_distribution(pixels) * images if images else np.zeros(pixels.shape[1:])
    return {
        "images": images,
        "pixels": np.round(summed, 3).tolist(),
        "labels": np.bincount(labels, minlength=classes).tolist(),
    }


def add_up(counts: Sequence[Counts]) -> Counts:
    """What several processes have seen of one version."""
    names = counts[0].keys()
    return {name: np.sum([np.asarray(entry[name]) for entry in counts], axis=0).tolist() for name in names}


def judge(windows: Sequence[Counts], reference: Counts) -> Drift:
    """The worst of several windows, of which the last is the longest; of equally bad ones the longest."""
    if windows[-1]["images"] < LEAST_IMAGES:
        return Drift(Verdict.TOO_FEW, windows[-1]["images"])
    drifts = [compare(counts, reference) for counts in reversed(windows) if counts["images"] >= LEAST_IMAGES]
    return max(drifts, key=lambda drift: _ORDER.index(drift.verdict))


def compare(counts: Counts, reference: Counts) -> Drift:
    """At least one image is needed."""
    inputs = [
        _compared(observed, expected, counts["images"], reference["images"])
        for observed, expected in zip(counts["pixels"], reference["pixels"], strict=True)
    ]
    worst = max(inputs, key=lambda comparison: comparison.score)
    held_out = reference["labels"]["held_out"]
    labels = _compared(counts["labels"], reference["labels"]["predicted"], counts["images"], held_out)
    return Drift(max(worst.verdict, labels.verdict, key=_ORDER.index), counts["images"], worst, labels)


def stability_index(observed: Sequence[float], expected: Sequence[float], known: int) -> float:
    """Of `observed` counts against `expected` fractions of `known` ones; half an image more in each bin."""
    ours = np.asarray(observed, np.float64) + 0.5
    theirs = np.asarray(expected, np.float64) * known + 0.5
    ours, theirs = ours / ours.sum(), theirs / theirs.sum()
    return float(np.sum((ours - theirs) * np.log(ours / theirs)))


def _compared(observed: Sequence[float], expected: Sequence[float], seen: int, known: int) -> Comparison:
    freedom = max(len(expected) - 1, 1)
    noise = 1 / seen + 1 / max(known, 1)
    return Comparison(
        stability_index(observed, expected, known),
        max(SUSPICIOUS, noise * _chi_squared(freedom, CHANCE_SUSPICIOUS)),
        max(CHANGED, noise * _chi_squared(freedom, CHANCE_CHANGED)),
    )


def _chi_squared(freedom: int, normal: float) -> float:
    """Its quantile, after Wilson and Hilferty (1931); `normal` is the standard normal one."""
    part = 2 / (9 * freedom)
    return freedom * float((1 - part + normal * sqrt(part)) ** 3)


class Window:
    """The last images of one version that were looked at. Bounded memory: 100 KB for three channels."""

    SIZE = 1_000

    def __init__(self, channels: int) -> None:
        self._pixels = np.zeros((self.SIZE, channels, BINS), np.uint16)
        self._labels = np.zeros(self.SIZE, np.int64)
        self.seen = 0
        """since the start"""

    def add(self, pixels: PixelCounts, labels: NDArray[np.int64]) -> None:
        places = np.arange(self.seen, self.seen + len(labels)) % self.SIZE
        self._pixels[places] = pixels
        self._labels[places] = labels
        self.seen += len(labels)

    def last(self, images: int = SIZE) -> tuple[PixelCounts, NDArray[np.int64]]:
        """Copies of the last so many, or as many as there are."""
        places = np.arange(max(0, self.seen - min(images, self.SIZE)), self.seen) % self.SIZE
        return self._pixels[places], self._labels[places]
