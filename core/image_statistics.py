"""What images look like in numbers: of training images at publishing, and of live ones to compare with them."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 16
"""of pixel values, each 16 wide"""

PIXELS_LOOKED_AT = 1024
"""of an image, evenly spaced; few enough to look at an image between two predictions"""

PixelCounts = NDArray[np.uint16]
"""(n, channels, BINS): how many of the pixels looked at lie in each bin, for each of n images"""


def pixel_counts(images: NDArray[Any]) -> PixelCounts:
    """Of pixels 0-255, (n, height, width, channels)."""
    count, height, width, channels = images.shape
    step = max(1, ceil(sqrt(height * width / PIXELS_LOOKED_AT)))
    seen = images[:, step // 2 :: step, step // 2 :: step] if step > 1 else images
    if seen.dtype != np.uint8:
        seen = np.clip(seen, 0, 255).astype(np.uint8)
    bins = (seen.reshape(count, -1, channels) >> 4) + np.arange(0, count * channels * BINS, BINS).reshape(
        count, 1, channels
    )
    counts = np.bincount(bins.ravel(), minlength=count * channels * BINS)
    return counts.reshape(count, channels, BINS).astype(np.uint16)


def mean_distribution(counts: PixelCounts) -> NDArray[np.float64]:
    """The fraction of pixels in each bin, (channels, BINS), on average over images: each of them counts as one."""
    result: NDArray[np.float64] = (counts / counts.sum(axis=2, keepdims=True)).mean(axis=0)
    return result
