"""Whether two pictures with close hashes really are copies of one, judged from their pixels.

The thumbnails' spectra are compared band by band (BANDS), for the whole pictures and for the eight ways of being a
pixel apart. A plain correlation would not do: a copy that lost its details to a smaller size correlates no better than
another picture of the same thing; but what it kept, it kept in every band, and its coarse shapes exactly. How exactly
depends on the picture: in noise, where all frequencies are equally strong, the fine ones disturb the coarse ones, but
nothing else comes near it either. So the least agreement of each band goes from NOISY to SMOOTH with the share of the
coarsest band. The mean colours must agree too, as luma does not tell a red circle from a green one. Pictures of a few
pixels have a test of their own (tiny.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from worker.imports import tiny
from worker.imports.candidates import Rows
from worker.imports.perceptual import OPPOSITE, SIDE, VIEWS, Spectra, Thumbnails, spectra, thumbnail, tint
from worker.imports.source import Pixels
from worker.imports.ticks import Tell, Ticks

ReadOne = Callable[[int], Pixels]

NOISY = np.array([0.98, 0.98, 0.97], np.float32)
"""least agreement in each band, where the coarsest one has SHARES[0] of the energy or less."""
SMOOTH = np.array([0.9985, 0.996, 0.95], np.float32)
"""the same from SHARES[1] on."""
SHARES = (0.25, 0.35)
CORRELATION = 0.9
"""over all bands at once, without the allowance for noise."""
BANDS = (0.0, 0.15, 0.3, 0.45)
"""edges, as shares of the highest frequency that the smaller picture can hold."""
NOISE = 12.0
"""grey levels that re-encoding may add to any coefficient."""
TINT = 16.0
"""grey levels of mean colour."""

_FREQUENCIES = 15
_TILE = 16_384
_PAIRS_AT_ONCE = 512


@dataclass(frozen=True)
class Glimpses:
    """Some pictures, as far as the comparison needs them."""

    thumbnails: Thumbnails
    shapes: NDArray[np.int64]
    """(n, 2): height and width"""
    tints: NDArray[np.float32]
    """(n, 2)"""

    def of(self, rows: Rows) -> Glimpses:
        return Glimpses(self.thumbnails[rows], self.shapes[rows], self.tints[rows])

    def spectra(self, frequencies: int) -> Spectra:
        """Of all VIEWS."""
        found = np.empty((len(self.shapes), VIEWS, frequencies, frequencies), np.float32)
        for shape, rows in groups(self.shapes):
            found[rows] = spectra(self.thumbnails[rows], shape, frequencies)
        return found


def glimpse(read: ReadOne, rows: Rows, tick: Callable[[], None]) -> Glimpses:
    """Reads the pictures one by one, with a `tick` for each: memory does not grow with their sizes."""
    thumbnails = np.empty((len(rows), SIDE, SIDE), np.uint8)
    shapes = np.empty((len(rows), 2), np.int64)
    tints = np.empty((len(rows), 2), np.float32)
    for place, row in enumerate(rows.tolist()):
        pixels = read(row)
        thumbnails[place], shapes[place], tints[place] = thumbnail(pixels), pixels.shape[:2], tint(pixels)
        tick()
    return Glimpses(thumbnails, shapes, tints)


def groups(shapes: NDArray[np.int64]) -> Iterator[tuple[tuple[int, ...], Rows]]:
    """Each different row of `shapes`, with the places where it stands."""
    different, which = np.unique(shapes, axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which))
    for shape, end, count in zip(different.tolist(), ends, np.bincount(which), strict=True):
        yield tuple(shape), order[end - count : end]


def look_again(
    queries: Rows, references: Rows, read_query: ReadOne, read_reference: ReadOne, tell: Tell
) -> NDArray[np.float32]:
    """(pairs,): how well each pair agrees, 0 where it is no copy. A reference is read once, a query once a tile."""
    agreement = np.zeros(len(queries), np.float32)
    different, which = np.unique(references, return_inverse=True)
    ticks = Ticks(len(different) + len(queries), tell)
    for start in range(0, len(different), _TILE):
        pairs = np.flatnonzero((which >= start) & (which < start + _TILE))
        pairs = pairs[np.argsort(queries[pairs], kind="stable")]
        tile = glimpse(read_reference, different[start : start + _TILE], ticks.one)
        for some in np.split(pairs, range(_PAIRS_AT_ONCE, len(pairs), _PAIRS_AT_ONCE)):
            mine, row = np.unique(queries[some], return_inverse=True)
            agreement[some] = _agreement(glimpse(read_query, mine, ticks.one), row, tile, which[some] - start)
            ticks.more(len(some) - len(mine))
    return agreement


def _agreement(queries: Glimpses, query: Rows, references: Glimpses, reference: Rows) -> NDArray[np.float32]:
    used, place = np.unique(reference, return_inverse=True)
    references = references.of(used)
    mine = queries.spectra(_FREQUENCIES)[:, OPPOSITE].reshape(len(queries.shapes), VIEWS, -1)
    theirs = references.spectra(_FREQUENCIES).reshape(len(used), VIEWS, -1)
    agreement = np.zeros(len(query), np.float32)
    smaller = np.minimum(np.minimum(queries.shapes[query], references.shapes[place]), SIDE)
    for shape, rows in groups(smaller):
        agreement[rows] = _coherence(mine[query[rows]], theirs[place[rows]], _bands(shape))
    _judge_tiny(agreement, queries.of(query), references.of(place))
    other_colour = np.abs(queries.tints[query] - references.tints[place]).max(axis=1) > TINT
    agreement[other_colour] = 0
    return agreement


def _judge_tiny(agreement: NDArray[np.float32], mine: Glimpses, theirs: Glimpses) -> None:
    """Replaces the agreement of pairs in which both pictures are tiny."""
    both = np.concatenate([mine.shapes, theirs.shapes], axis=1)
    for shapes, rows in groups(both):
        if min(shapes[:2]) >= tiny.TINY_SIDE or min(shapes[2:]) >= tiny.TINY_SIDE or max(shapes) > SIDE:
            continue
        one = tiny.native(mine.thumbnails[rows], shapes[:2])
        other = tiny.native(theirs.thumbnails[rows], shapes[2:])
        found = tiny.correlations(one, other)
        agreement[rows] = np.where(found >= tiny.CORRELATION, found, 0)


def _coherence(
    mine: NDArray[np.float32], theirs: NDArray[np.float32], bands: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(pairs,): of the best view that passes, the agreement of its coarsest band; 0 where none does."""
    shared, own, other = (product @ bands for product in (mine * theirs, mine * mine, theirs * theirs))
    noise = bands.sum(axis=0) * np.float32(NOISE * NOISE) + np.float32(1e-3)  # a band may be empty
    agreement = (shared + noise) / np.sqrt((own + noise) * (other + noise))
    share = own[:, :, :1] / (own.sum(axis=2, keepdims=True) + np.float32(1e-6))
    smoothness = np.clip((share - SHARES[0]) / (SHARES[1] - SHARES[0]), 0, 1)
    passes = (agreement >= NOISY + smoothness * (SMOOTH - NOISY)).all(axis=2)
    whole = shared.sum(axis=2) / np.sqrt(own.sum(axis=2) * other.sum(axis=2) + np.float32(1e-6))
    best: NDArray[np.float32] = np.where(passes & (whole >= CORRELATION), agreement[:, :, 0], 0).max(axis=1)
    return best


@lru_cache(maxsize=1024)
def _bands(shape: tuple[int, int]) -> NDArray[np.float32]:
    """(frequencies of both ways, bands): which coefficient belongs to which band."""
    down, across = (np.arange(_FREQUENCIES) / side for side in shape)
    radius = np.hypot(down[:, None], across[None, :]).ravel()
    inside = [(radius >= low) & (radius < high) for low, high in pairwise(BANDS)]
    inside[0][0] = False  # the constant
    return np.stack(inside, axis=1).astype(np.float32)
