"""The search for images that look the same: which images, which candidates, and what a second look says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.imports.candidates import (
    EXHAUSTIVE_SECONDS,
    LOOKUP_SECONDS,
    MOST_LOOKUPS,
    SMALL_SIDE,
    Looks,
    Rows,
    Shortlist,
    comparisons,
    search_bands,
    search_exhaustively,
)
from worker.imports.fingerprints import Records, is_flat, repeats
from worker.imports.perceptual import HASHED, VIEWS, hashes
from worker.imports.second_look import ReadOne, glimpse, look_again
from worker.imports.spool import SpooledHashes
from worker.imports.ticks import Tell, Ticks, parts

ReadRecords = Callable[..., Records]
"""Takes names of fields."""

READ_SECONDS = 6e-5
"""to read and to hash a small image, about."""
_READ_AT_ONCE = 1024
_COMPARED = ("mean", "contrast", "side")
_PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Distinct:
    """The images of a split that are neither flat nor repeat an earlier one of it exactly."""

    rows: Rows
    shifted: Looks
    """of the small ones"""
    records: ReadRecords
    """of all images of the split"""
    read: ReadOne

    def whole(self) -> Looks:
        """Of all of them, in one view."""
        looks = self.records("look")["look"][self.rows]
        return Looks(self.rows, SpooledHashes.of(looks[:, None]), self.records(*_COMPARED)[self.rows])

    def __len__(self) -> int:
        return len(self.rows)


def distinct(records: ReadRecords, read: ReadOne, tell: Tell) -> Distinct:
    """Reads the small images once."""
    later, _ = repeats(records("digest")["digest"])
    compared = records(*_COMPARED)
    wanted = ~is_flat(compared)
    wanted[later] = False
    rows = np.flatnonzero(wanted)
    is_small = compared["side"][rows] <= SMALL_SIDE
    small = rows if is_small.all() else rows[is_small]
    views = SpooledHashes(len(small), VIEWS)
    ticks = Ticks(len(small), tell)
    for start in range(0, len(small), _READ_AT_ONCE):
        some = small[start : start + _READ_AT_ONCE]
        views.write(start, hashes(glimpse(read, some, ticks.one).spectra(HASHED)))
    return Distinct(rows, Looks(small, views, compared[small]), records, read)


def hash_comparisons(later: Distinct, earlier: Distinct | None) -> int:
    """What an exhaustive search costs."""
    small, rest = len(later.shifted.rows), _has_others(later, earlier)
    cost = comparisons(small, None if earlier is None else len(earlier.shifted.rows), VIEWS)
    return cost + (comparisons(len(later), None if earlier is None else len(earlier), 1) if rest else 0)


@dataclass(frozen=True)
class Found:
    """Copies among images that look alike: `later` and `earlier` are rows, one entry a pair."""

    later: Rows
    earlier: Rows
    agreement: NDArray[np.float32]
    looked_at: int
    unseen: bool
    """whether the limits left candidates out"""
    finished: bool
    """False where the candidates are not even all known"""


def search(later: Distinct, earlier: Distinct | None, tell: Tell, *, per_image: int, most: int, banded: bool) -> Found:
    """Without `earlier`, every image of `later` against those before it."""
    seconds = min(hash_comparisons(later, earlier) * EXHAUSTIVE_SECONDS, MOST_LOOKUPS * LOOKUP_SECONDS)
    smaller, greater, looking = parts(tell, (seconds, seconds / VIEWS, READ_SECONDS * len(later)))
    shortlist = Shortlist(per_image, most)
    finished = _shortlist(later.shifted, None if earlier is None else earlier.shifted, shortlist, smaller, banded)
    if _has_others(later, earlier):
        references = None if earlier is None else earlier.whole()
        finished &= _shortlist(later.whole(), references, shortlist, greater, banded)
    mine, theirs = shortlist.pairs()
    if earlier is not None:
        differing = ~_equal(later.records, mine, earlier.records, theirs)
        mine, theirs = mine[differing], theirs[differing]
    agreement = look_again(mine, theirs, later.read, (earlier or later).read, looking)
    same = agreement > 0
    return Found(mine[same], theirs[same], agreement[same], len(mine), shortlist.dropped > 0, finished)


def _shortlist(mine: Looks, theirs: Looks | None, into: Shortlist, tell: Tell, banded: bool) -> bool:
    """Whether all candidates are known."""
    if banded:
        return search_bands(mine, theirs, into, tell)
    search_exhaustively(mine, theirs, into, tell)
    return True


def _has_others(later: Distinct, earlier: Distinct | None) -> bool:
    """Beside the small images, which are compared in all their views: then all are also compared as a whole."""
    return any(len(each.shifted.rows) < len(each) for each in (later, earlier) if each is not None)


def _equal(later: ReadRecords, queries: Rows, earlier: ReadRecords, references: Rows) -> NDArray[np.bool_]:
    """Which pairs are exact copies: those are counted apart. Within a split none is left."""
    mine, theirs = later("digest")["digest"], earlier("digest")["digest"]
    equal = np.zeros(len(queries), bool)
    for start in range(0, len(queries), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        equal[some] = (mine[queries[some]] == theirs[references[some]]).all(axis=1)
    return equal
