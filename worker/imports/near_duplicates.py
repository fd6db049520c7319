"""The search for images that look the same: which images, which candidates, and what a second look says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.imports.candidates import SMALL_SIDE, Looks, Rows, Shortlist, comparisons, search_bands, search_exhaustively
from worker.imports.fingerprints import Records, first_equal, is_flat
from worker.imports.perceptual import HASHED, VIEWS, hashes
from worker.imports.second_look import ReadOne, glimpse, look_again

_READ_AT_ONCE = 1024


@dataclass(frozen=True)
class Distinct:
    """The images of a split that are neither flat nor repeat an earlier one of it exactly."""

    whole: Looks
    """of all of them"""
    shifted: Looks
    """of the small ones"""
    records: Records
    """of all images of the split"""
    read: ReadOne

    def digests(self, rows: Rows) -> NDArray[np.uint64]:
        digests: NDArray[np.uint64] = self.records["digest"][rows]
        return digests

    def __len__(self) -> int:
        return len(self.whole.rows)


def distinct(records: Records, read: ReadOne) -> Distinct:
    """Reads the small images once."""
    rows = np.flatnonzero((first_equal(records["digest"]) == np.arange(len(records))) & ~is_flat(records))
    small = rows[records["side"][rows] <= SMALL_SIDE]
    views = np.empty((len(small), VIEWS), np.uint64)
    for start in range(0, len(small), _READ_AT_ONCE):
        some = slice(start, start + _READ_AT_ONCE)
        views[some] = hashes(glimpse(read, small[some]).spectra(HASHED))
    whole = records[rows]
    return Distinct(Looks(rows, whole["look"][:, None], whole), Looks(small, views, records[small]), records, read)


def hash_comparisons(later: Distinct, earlier: Distinct | None) -> int:
    """What an exhaustive search costs."""
    pairs = _passes(later, earlier)
    return sum(
        comparisons(len(mine.rows), None if theirs is None else len(theirs.rows), mine.hashes.shape[1])
        for mine, theirs in pairs
    )


@dataclass(frozen=True)
class Found:
    """Copies among images that look alike: `later` and `earlier` are rows, one entry a pair."""

    later: Rows
    earlier: Rows
    agreement: NDArray[np.float32]
    looked_at: int
    unseen: int
    """candidates that the limits left out"""
    finished: bool
    """False where the candidates are not even all known"""


def search(later: Distinct, earlier: Distinct | None, *, per_image: int, most: int, banded: bool) -> Found:
    """Without `earlier`, every image of `later` against those before it."""
    shortlist = Shortlist(per_image, most)
    finished = True
    for mine, theirs in _passes(later, earlier):
        if banded:
            finished &= search_bands(mine, theirs, shortlist)
        else:
            search_exhaustively(mine, theirs, shortlist)
    queries, references = shortlist.pairs()
    others = later if earlier is None else earlier
    differing = (later.digests(queries) != others.digests(references)).any(axis=1)  # exact ones are counted apart
    queries, references = queries[differing], references[differing]
    agreement = look_again(queries, references, later.read, others.read)
    same = agreement > 0
    return Found(queries[same], references[same], agreement[same], len(queries), shortlist.dropped, finished)


def _passes(later: Distinct, earlier: Distinct | None) -> list[tuple[Looks, Looks | None]]:
    """The small images in all their views; where there are others, also all images as a whole."""
    passes = [(later.shifted, None if earlier is None else earlier.shifted)]
    if any(len(each.shifted.rows) < len(each) for each in (later, earlier) if each is not None):
        passes.append((later.whole, None if earlier is None else earlier.whole))
    return passes
