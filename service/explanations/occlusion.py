"""Heat maps by covering parts of an image: where the label suffers, the network had looked (Zeiler and Fergus, 2014).

Needs nothing of a network but its answers. Patches of two sizes are covered, once with the image's own blur and once with
its mean colour: neither draws new shapes into it, as black or grey would. What counts is how far the log-odds of the label
fall; they do not saturate where the network is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.inference import Floats

Score = Callable[[NDArray[Any]], Floats]
"""pixels (n, height, width, channels) to logits (n, classes)"""

COARSE, FINE = (4, 2), (8, 1)
"""parts of a side that a patch measures, and steps that it takes to move on by its own length"""

MOST_SECONDS = 5.0
"""of running the network; slower ones are shown fewer patches"""

MIDDLE_GREY = 127.5


class Patch(NamedTuple):
    """A rectangle of an image."""

    rows: slice
    columns: slice

    @property
    def area(self) -> int:
        return int(self.rows.stop - self.rows.start) * int(self.columns.stop - self.columns.start)


def occlusion_heat(score: Score, image: NDArray[Any], label: int, batch: int, seconds: float) -> Floats:
    """How much each pixel of an image (height, width, channels) speaks for the label, (height, width); none is negative.

    `seconds` is what one image takes the network. An image without any contrast is covered with grey instead.
    """
    scales = [_patches(image.shape[:2], *scale) for scale in (COARSE, FINE)]
    covers = [_blurred(image), _mean(image)]
    if seconds * len(covers) * sum(map(len, scales)) > MOST_SECONDS:
        scales, covers = scales[:1], covers[:1]
    before = float(_log_odds(score(image[None].astype(np.float32)), label)[0])
    heat = sum(_fallen(score, image, label, before, batch, cover, patches) for cover in covers for patches in scales)
    if not np.any(heat):
        grey = np.full(image.shape, MIDDLE_GREY, np.float32)
        heat = _fallen(score, image, label, before, batch, grey, scales[0])
    positive: Floats = np.maximum(heat, 0).astype(np.float32)
    return positive


def _fallen(
    score: Score, image: NDArray[Any], label: int, before: float, batch: int, cover: Floats, patches: list[Patch]
) -> NDArray[np.float64]:
    """By how much the log-odds fall for each pixel that is covered, on average over the patches that cover it."""
    fallen, covered = np.zeros((2, *image.shape[:2]))
    for part in _in_parts(patches, batch):
        images = np.repeat(image[None].astype(np.float32), len(part), axis=0)
        for picture, patch in zip(images, part, strict=True):
            picture[patch] = cover[patch]
        for patch, after in zip(part, _log_odds(score(images), label), strict=True):
            fallen[patch] += (before - after) / patch.area
            covered[patch] += 1
    result: NDArray[np.float64] = fallen / covered
    return result


def _patches(shape: tuple[int, ...], parts: int, steps: int) -> list[Patch]:
    """Of a size, over the whole image."""
    rows, columns = (list(_spans(side, ceil(side / parts), steps)) for side in shape)
    return [Patch(row, column) for row in rows for column in columns]


def _spans(side: int, length: int, steps: int) -> Iterator[slice]:
    last = side - length
    starts = {*range(0, last, max(1, length // steps)), last}
    return (slice(start, start + length) for start in sorted(starts))


def _in_parts(patches: list[Patch], size: int) -> Iterator[list[Patch]]:
    return (patches[at : at + size] for at in range(0, len(patches), size))


def _log_odds(logits: Floats, label: int) -> NDArray[np.float64]:
    """Log p / (1 - p) of the label, (n,)."""
    others = np.delete(logits.astype(np.float64), label, axis=1)
    most = others.max(axis=1)
    result: NDArray[np.float64] = logits[:, label] - most - np.log(np.exp(others - most[:, None]).sum(axis=1))
    return result


def _mean(image: NDArray[Any]) -> Floats:
    return np.broadcast_to(image.mean(axis=(0, 1), dtype=np.float32), image.shape)


def _blurred(image: NDArray[Any]) -> Floats:
    """What is left of the image in an eighth of its size."""
    height, width, channels = image.shape
    small = max(1, width // 8), max(1, height // 8)
    blurred = np.empty(image.shape, np.float32)
    for channel in range(channels):
        plane = Image.fromarray(np.ascontiguousarray(image[..., channel], np.float32))
        reduced = plane.resize(small, Image.Resampling.BOX)
        blurred[..., channel] = np.asarray(reduced.resize((width, height), Image.Resampling.BILINEAR))
    return blurred
