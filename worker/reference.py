"""Statistics of what a network was trained on, published with it: live traffic is compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.image_statistics import mean_distribution, pixel_counts
from worker.datasets.images import Images

MOST_IMAGES = 2_000
CHUNK = 256


def reference_statistics(training: Images, confusion_matrix: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Of up to 2,000 training images, drawn with a fixed seed, and of the labels.

    pixels: for each channel the fractions of the pixel values in each bin; labels: fractions in training, and as predicted
    for the `held_out` test images of the confusion matrix (rows: truth, columns: predicted).
    """
    count = len(training.labels)
    chosen = np.sort(np.random.default_rng(0).permutation(count)[:MOST_IMAGES])
    counts = [pixel_counts(training.gather(chosen[at : at + CHUNK])) for at in range(0, len(chosen), CHUNK)]
    predicted = np.sum(confusion_matrix, axis=0)
    return {
        "images": len(chosen),
        "pixels": np.round(mean_distribution(np.concatenate(counts)), 6).tolist(),
        "labels": {
            "training": _fractions(np.bincount(training.labels, minlength=len(predicted))),
            "predicted": _fractions(predicted),
            "held_out": int(np.sum(predicted)),
        },
    }


def _fractions(counts: NDArray[Any]) -> list[float]:
    rounded: list[float] = np.round(counts / counts.sum(), 6).tolist()
    return rounded
