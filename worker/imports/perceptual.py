"""What a picture looks like, in numbers that survive re-encoding, resizing and a shift by one pixel.

The hash is the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), with
two changes. A coefficient counts as set when it stands a little above the median (MARGIN), so that the many zeros of
symmetrical or empty pictures do not turn with every rounding error. And a picture has nine hashes: of the whole, and
of eight windows displaced by half a pixel each way. Two pictures that differ by a shift of one pixel agree where
opposite windows overlap, whatever was filled in at the border. Windows, cosines and interpolation are one linear
map, so all nine cost three matrix products for a whole batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.imports.source import Pixels

Thumbnails = NDArray[np.uint8]
"""(n, SIDE, SIDE): luma."""
Spectra = NDArray[np.float32]
"""(n, views, frequencies, frequencies): orthonormal DCT-II coefficients of each view, the constant at [0, 0]."""
Hashes = NDArray[np.uint64]
"""(n, views)"""

SIDE = 32
HASHED = 8
"""lowest frequencies each way, without the constant: 63 bits."""
MARGIN = 0.03
"""of the coefficients' root mean square, above their median."""
VIEWS = 9
OPPOSITE = np.array([0, 2, 1, 6, 8, 7, 3, 5, 4])
"""For each view, the one displaced the other way. View 0 is the whole picture."""


def thumbnail(pixels: Pixels) -> NDArray[np.uint8]:
    """Luma (ITU-R 601) squeezed to SIDE x SIDE with an antialiased bilinear filter."""
    image = Image.fromarray(pixels[:, :, 0]) if pixels.shape[2] == 1 else Image.fromarray(pixels).convert("L")
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image)


def tint(pixels: Pixels) -> tuple[float, float]:
    """How far the mean red and the mean blue stand above the mean green: what luma does not show."""
    if pixels.shape[2] == 1:
        return 0.0, 0.0
    # One row after the other, as a mean over both axes at once would need a large float copy.
    red, green, blue = np.add.reduce(pixels.sum(axis=1, dtype=np.uint32), dtype=np.float64) / pixels[:, :, 0].size
    return float(red - green), float(blue - green)


def spectra(thumbnails: Thumbnails, shape: tuple[int, ...], frequencies: int, views: int = VIEWS) -> Spectra:
    """Of pictures that were all `shape` (height, width) before they became thumbnails; `views` is 1 or VIEWS."""
    windows = 1 if views == 1 else 3
    down = _windows(shape[0], frequencies)[:windows].reshape(-1, SIDE)
    across = _windows(shape[1], frequencies)[:windows].reshape(-1, SIDE)
    found = np.matmul(np.matmul(down, thumbnails.astype(np.float32)), across.T)
    grid = found.reshape(len(thumbnails), windows, frequencies, windows, frequencies).transpose(0, 1, 3, 2, 4)
    coefficients: Spectra = grid.reshape(len(thumbnails), views, frequencies, frequencies)
    return coefficients


def hashes(coefficients: Spectra) -> Hashes:
    """One word a view; the first bit stands for the constant and is never set."""
    low = coefficients[:, :, :HASHED, :HASHED].reshape(*coefficients.shape[:2], HASHED * HASHED)
    varying = low[:, :, 1:]
    middle = np.partition(varying, varying.shape[2] // 2, axis=2)[:, :, varying.shape[2] // 2]
    threshold = middle + np.float32(MARGIN) * np.sqrt(np.mean(varying * varying, axis=2))
    bits = varying > threshold[:, :, None]
    padded = np.concatenate([np.zeros_like(bits[:, :, :1]), bits], axis=2)
    return np.packbits(padded, axis=2).view(">u8")[:, :, 0].astype(np.uint64)


def contrast(coefficients: Spectra) -> NDArray[np.float32]:
    """(n,): the root mean square of what varies in the whole picture at the hashed frequencies, in grey levels."""
    low = coefficients[:, 0, :HASHED, :HASHED].reshape(len(coefficients), -1)[:, 1:]
    spread: NDArray[np.float32] = np.sqrt(np.sum(low * low, axis=1)) / SIDE
    return spread


@lru_cache(maxsize=256)
def _windows(pixels: int, frequencies: int) -> NDArray[np.float32]:
    """(3, frequencies, SIDE): from a side of a thumbnail to the cosines of the whole and of both displaced windows."""
    margin = 0.5 / pixels + 1 / SIDE
    starts = (margin + 0.5 / pixels, margin - 0.5 / pixels)
    stretches = [np.eye(SIDE)] + [_stretch(start, start + 1 - 2 * margin) for start in starts]
    return np.stack([_cosines(frequencies) @ stretch for stretch in stretches]).astype(np.float32)


def _cosines(frequencies: int) -> NDArray[np.float64]:
    k, n = np.arange(frequencies)[:, None], np.arange(SIDE)[None, :]
    scale = np.where(k == 0, np.sqrt(1 / SIDE), np.sqrt(2 / SIDE))
    return np.asarray(scale * np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE)), np.float64)


def _stretch(start: float, stop: float) -> NDArray[np.float64]:
    """(SIDE, SIDE): linear interpolation of the window [start, stop] (shares of the side) at SIDE places."""
    centres = (start + (stop - start) * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5
    places = np.clip(centres, 0, SIDE - 1)
    below = np.minimum(places.astype(int), SIDE - 2)
    rows = np.arange(SIDE)
    matrix = np.zeros((SIDE, SIDE))
    matrix[rows, below] = 1 - (places - below)
    matrix[rows, below + 1] = places - below
    return matrix
