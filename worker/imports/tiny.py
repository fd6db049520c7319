"""A second look at pictures of a few pixels, where every frequency suffers from a new size and bands tell nothing.

There, what could have been done to a picture can be tried: each shift by a pixel, and each size from 0.75 to 1.5 times
its own and back. One of the results must correlate with the other picture to at least CORRELATION.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.imports.perceptual import SIDE, Thumbnails

Floats = NDArray[np.float32]

TINY_SIDE = 16
CORRELATION = 0.985
CLOSE = 0.7
"""correlation that a picture keeps with itself at another size and back."""


def native(thumbnails: Thumbnails, shape: tuple[int, ...]) -> Floats:
    """(n, height, width): the pixels, within a grey level, that became thumbnails by enlarging."""
    down, across = (np.linalg.pinv(_resize(side, SIDE)).astype(np.float32) for side in shape)
    pixels: Floats = np.matmul(np.matmul(down, thumbnails.astype(np.float32)), across.T)
    return pixels


def correlations(mine: Floats, theirs: Floats) -> Floats:
    """(n,) for n pairs (n, height, width) of any two sizes: of the best explanation of one by the other."""
    if mine.shape[1:] != theirs.shape[1:]:
        return np.maximum(
            _alike(_resized(mine, theirs.shape[1:]), theirs), _alike(_resized(theirs, mine.shape[1:]), mine)
        )
    best: Floats = np.max(_apart(mine, theirs), axis=0)
    close = np.flatnonzero(_alike(mine, theirs) >= CLOSE)
    tried = [best[close], *_there_and_back(mine[close], theirs[close]), *_there_and_back(theirs[close], mine[close])]
    best[close] = np.max(tried, axis=0)
    return best


def _apart(mine: Floats, theirs: Floats) -> list[Floats]:
    """As they are, and shifted by a pixel: what both still show."""
    parts = {0: slice(None), 1: slice(1, None), -1: slice(None, -1)}
    steps = [(down, across) for down in parts for across in parts]
    return [_alike(mine[:, parts[y], parts[x]], theirs[:, parts[-y], parts[-x]]) for y, x in steps]


def _there_and_back(mine: Floats, theirs: Floats) -> list[Floats]:
    height, width = mine.shape[1:]
    sizes = {(round(height * step / 24), round(width * step / 24)) for step in range(18, 37)} - {(height, width)}
    return [_alike(_resized(_resized(mine, size), (height, width)), theirs) for size in sorted(sizes)]


def _resized(pictures: Floats, shape: tuple[int, ...]) -> Floats:
    down, across = (_resize(old, new) for old, new in zip(pictures.shape[1:], shape, strict=True))
    resized: Floats = np.matmul(np.matmul(down, pictures), across.T)
    return resized


@lru_cache(maxsize=1024)
def _resize(old: int, new: int) -> Floats:
    """(new, old): Pillow's antialiased bilinear filter along one side."""
    identity = Image.fromarray(np.eye(old, dtype=np.float32))
    return np.asarray(identity.resize((old, new), Image.Resampling.BILINEAR), np.float32)


def _alike(mine: Floats, theirs: Floats) -> Floats:
    one, other = (part.reshape(len(part), part.shape[1] * part.shape[2]) for part in (mine, theirs))
    one, other = (flat - flat.sum(axis=1, keepdims=True) / max(flat.shape[1], 1) for flat in (one, other))
    scale = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1)) + np.float32(1e-3)
    alike: Floats = (one * other).sum(axis=1) / scale
    return alike
