"""Where in an image the places of a feature map lie.

A convolution without padding makes a map of the image's middle only: LeNet's covers three quarters of a side. Stretched
over the whole image, as is often done, its heat would lie beside what it is about.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.inference import Floats


class Window(NamedTuple):
    """How a layer slides along one side of its input."""

    size: int
    stride: int = 1
    padding: int = 0
    """before the first"""
    dilation: int = 1


class Places(NamedTuple):
    """Along one side: the pixel at the middle of what the map's first place sees, and the step to the next."""

    first: float = 0.0
    step: float = 1.0

    def after(self, window: Window) -> Places:
        """Of the layer's output; these are of its input."""
        middle = (window.size - 1) * window.dilation / 2 - window.padding
        return Places(self.first + middle * self.step, self.step * window.stride)


def placed(heat: Floats, rows: Places, columns: Places, shape: tuple[int, int]) -> Floats:
    """The heat of a feature map on an image (height, width), smoothly; none beyond half a step from its last places."""
    height, width = shape
    down = _weights(rows, heat.shape[0], height)
    across = _weights(columns, heat.shape[1], width)
    result: Floats = (down @ heat @ across.T).astype(np.float32)
    return result


def _weights(places: Places, count: int, pixels: int) -> NDArray[np.float64]:
    """How much each of `count` places gives to each pixel, (pixels, count): linear interpolation."""
    at = (np.arange(pixels) - places.first) / places.step
    inside = (at > -0.5 - 1e-6) & (at < count - 0.5 + 1e-6)
    at = np.clip(at, 0, count - 1)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count)))
    result: NDArray[np.float64] = weights * inside[:, None]
    return result
