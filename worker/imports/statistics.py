"""Figures that an import gathers while images pass by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.dataset_content import ImageSizes

MOST_SIZES = 10_000
"""told apart; beyond that the count stays"""


class ImageStatistics:
    """Sizes and colours of all images, and the training images' channel means and deviations."""

    def __init__(self) -> None:
        self._sizes: set[tuple[int, int]] = set()
        self._smallest = (2**31, 2**31)
        self._largest = (0, 0)
        self._channels: set[int] = set()
        self._pixels = 0
        self._sums = np.zeros(3)
        self._squares = np.zeros(3)

    def add(self, pixels: NDArray[np.uint8], *, training: bool) -> None:
        """`pixels` of shape (height, width, 1 or 3)."""
        height, width, channels = pixels.shape
        size = (height, width)
        if len(self._sizes) < MOST_SIZES:
            self._sizes.add(size)
        self._smallest = min(self._smallest, size, key=_area)
        self._largest = max(self._largest, size, key=_area)
        self._channels.add(channels)
        if training:
            self._sums += self._per_channel(pixels, _VALUES)
            self._squares += self._per_channel(pixels, _SQUARES)
            self._pixels += height * width

    def _per_channel(self, pixels: NDArray[np.uint8], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of every channel's weights; a grayscale image counts as one whose channels are equal."""
        return np.broadcast_to(weights[pixels].sum(axis=(0, 1)), (3,))

    @property
    def sizes(self) -> ImageSizes:
        return ImageSizes(smallest=self._smallest, largest=self._largest, distinct=len(self._sizes))

    @property
    def channels(self) -> int:
        return max(self._channels, default=1)

    @property
    def mixed_color(self) -> bool:
        return len(self._channels) > 1

    def mean(self) -> tuple[float, ...]:
        return tuple(round(float(value), 4) for value in (self._sums / max(self._pixels, 1))[: self.channels])

    def std(self) -> tuple[float, ...]:
        pixels = max(self._pixels, 1)
        variance = np.maximum(self._squares / pixels - (self._sums / pixels) ** 2, 0.0)
        return tuple(round(float(value), 4) for value in np.sqrt(variance)[: self.channels])


_VALUES = np.arange(256, dtype=np.float64)
_SQUARES = _VALUES**2


def _area(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[0]
