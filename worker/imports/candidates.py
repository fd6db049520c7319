"""Pairs of pictures whose hashes are close: few enough to look at, and seldom missing one that matters.

Up to EXHAUSTIVE comparisons of hashes (pairs times views) every pair is compared. Beyond, pairs are looked up in tables
by bands of the hash (multi-index hashing: Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index
Hashing", CVPR 2012): four bands of 16 bits, each as it is, with one bit turned, which finds every pair within
BANDED_RADIUS bits, and with two, as far as there is time. What is kept is bounded: the closest few for every image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from worker.imports.fingerprints import Records
from worker.imports.perceptual import OPPOSITE, Hashes
from worker.imports.tiny import TINY_SIDE

Rows = NDArray[np.int64]

EXHAUSTIVE = 20_000_000_000
"""comparisons, half a minute of one core: 200,000 large or 65,000 small images without a split."""
SMALL_SIDE = 128
"""up to it, all nine views are hashed; beyond, a shift by one pixel hardly changes the hash of the whole."""
RADII = (24, 10, 14)
"""bits of 63 in which copies may differ: of tiny (tiny.py), small and other pictures. Of a few pixels, all frequencies
suffer from a new size; without views, some change with a shift."""
BANDED_RADIUS = 7
"""within which no pair escapes the banded search, unless MOST_LOOKUPS is reached."""
MOST_LOOKUPS = 3_000_000_000
EXTRA_LOOKUPS = 1_000_000_000
"""after which two turned bits, which would find every pair within 11, are given up."""

_QUERIES, _REFERENCES = 64, 2048
"""of one exhaustive step: its distances stay in a core's cache."""
_BANDS, _BAND_BITS = 4, 16
_LOOKUPS_AT_ONCE = 1 << 20
_PENDING = 1 << 19


@dataclass(frozen=True)
class Looks:
    """Hashes to compare, (n, views), of some rows of a split."""

    rows: Rows
    hashes: Hashes
    records: Records
    """of those rows"""


@dataclass
class Shortlist:
    """The most alike references of each query: `per_query` at most, and `most` altogether."""

    per_query: int
    most: int
    dropped: int = 0
    _kept: list[NDArray[np.int64]] = field(default_factory=list)
    _pending: list[NDArray[np.int64]] = field(default_factory=list)
    _waits: int = 0

    def add(self, queries: Rows, references: Rows, unlike: NDArray[np.float32]) -> None:
        """Rows of the two splits and how unlike the pictures are, in about bits of the hash."""
        if not len(queries):
            return
        self._pending.append(np.stack([queries, references, (unlike * 16).astype(np.int64)]))
        self._waits += len(queries)
        if self._waits >= _PENDING:
            self._prune()

    def pairs(self) -> tuple[Rows, Rows]:
        """(queries, references), each pair once, in no order."""
        self._prune()
        kept = self._closest(np.concatenate(self._kept, axis=1)) if self._kept else np.zeros((3, 0), np.int64)
        if kept.shape[1] > self.most:
            self.dropped += kept.shape[1] - self.most
            kept = kept[:, np.argpartition(kept[2], self.most)[: self.most]]
        return kept[0], kept[1]

    def _prune(self) -> None:
        if self._pending:
            self._kept.append(self._closest(np.concatenate(self._pending, axis=1)))
        self._pending, self._waits = [], 0
        if len(self._kept) > 1 and sum(part.shape[1] for part in self._kept) > 2 * self.most:
            self._kept = [self._closest(np.concatenate(self._kept, axis=1))]

    def _closest(self, entries: NDArray[np.int64]) -> NDArray[np.int64]:
        entries = entries[:, np.lexsort((entries[2], entries[1], entries[0]))]
        again = np.zeros(entries.shape[1], bool)
        again[1:] = (entries[:2, 1:] == entries[:2, :-1]).all(axis=0)
        entries = entries[:, ~again]
        entries = entries[:, np.lexsort((entries[2], entries[0]))]
        first = np.searchsorted(entries[0], entries[0])
        near = np.arange(entries.shape[1]) - first < self.per_query
        self.dropped += int(len(near) - near.sum())
        return entries[:, near]


def comparisons(queries: int, references: int | None, views: int) -> int:
    """How many hashes an exhaustive search compares; `references` is None where a set is searched in itself."""
    pairs = queries * (queries - 1) // 2 if references is None else queries * references
    return pairs * views


def search_exhaustively(queries: Looks, references: Looks | None, into: Shortlist) -> None:
    """Every pair within its radius; without `references`, every image and those before it."""
    others = references or queries
    radii = _radii(queries.records)
    turned = _turned(queries.hashes)
    for start in range(0, len(turned), _QUERIES):
        rows = turned[start : start + _QUERIES]
        end = len(others.hashes) if references else start + len(rows)
        for begin in range(0, end, _REFERENCES):
            distance = _distances(rows, others.hashes[begin : min(begin + _REFERENCES, end)])
            query, reference = np.nonzero(distance <= radii[start : start + len(rows), None])
            found = distance[query, reference]
            _offer(queries, others, query + start, reference + begin, found, into, within=references is None)


def search_bands(queries: Looks, references: Looks | None, into: Shortlist) -> bool:
    """The same pairs within BANDED_RADIUS, and some beyond; False when MOST_LOOKUPS ended it early."""
    others = references or queries
    radii = _radii(queries.records)
    turned = _turned(queries.hashes)
    lookups = 0
    for turns, most in enumerate((MOST_LOOKUPS, MOST_LOOKUPS, EXTRA_LOOKUPS)):
        probes = [sum(bits) for bits in combinations([1 << bit for bit in range(_BAND_BITS)], turns)]
        for view in range(turned.shape[1]):
            mine, theirs = turned[:, view], others.hashes[:, view]
            for query, reference in _lookups(mine, theirs, probes):
                lookups += len(query)
                if lookups > most:
                    return turns == 2
                distance = np.bitwise_count(mine[query] ^ theirs[reference])
                near = distance <= radii[query]
                found = query[near], reference[near], distance[near]
                _offer(queries, others, *found, into, within=references is None)
    return True


def _offer(
    queries: Looks,
    others: Looks,
    query: Rows,
    reference: Rows,
    distance: NDArray[np.uint8],
    into: Shortlist,
    within: bool,
) -> None:
    if within:
        earlier = reference < query
        query, reference, distance = query[earlier], reference[earlier], distance[earlier]
    mine, theirs = queries.records, others.records
    # Copies keep their brightness and contrast: this tells them from pictures that only have the same shape.
    brightness = np.abs(mine["mean"][query].astype(np.float32) - theirs["mean"][reference])
    ratio = (mine["contrast"][query] + np.float32(2)) / (theirs["contrast"][reference] + np.float32(2))
    into.add(queries.rows[query], others.rows[reference], distance + 0.5 * brightness + 30 * np.abs(np.log(ratio)))


def _radii(records: Records) -> NDArray[np.uint8]:
    kind = np.searchsorted([TINY_SIDE - 1, SMALL_SIDE], records["side"])
    return np.asarray(RADII, np.uint8)[kind]


def _turned(hashes: Hashes) -> Hashes:
    """So that the view of one picture stands where the opposite view of the other one does."""
    return np.ascontiguousarray(hashes[:, OPPOSITE[: hashes.shape[1]]])


def _distances(rows: Hashes, references: Hashes) -> NDArray[np.uint8]:
    """(rows, references): over the views, the least number of bits that differ."""
    least = np.full((len(rows), len(references)), 255, np.uint8)
    differing = np.empty(least.shape, np.uint64)
    count = np.empty(least.shape, np.uint8)
    for view in range(rows.shape[1]):
        np.bitwise_xor(rows[:, view, None], references[None, :, view], out=differing)
        np.minimum(least, np.bitwise_count(differing, out=count), out=least)
    return least


def _lookups(mine: Hashes, theirs: Hashes, probes: list[int]) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of rows that agree in a band, but for the probe's bit."""
    for band in range(_BANDS):
        shift, mask = np.uint64(band * _BAND_BITS), np.uint64((1 << _BAND_BITS) - 1)
        keys = (theirs >> shift & mask).astype(np.uint16)
        order = np.argsort(keys, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << _BAND_BITS))])
        wanted = (mine >> shift & mask).astype(np.int64)
        for probe in probes:
            first = starts[wanted ^ probe]
            yield from _expanded(first, starts[(wanted ^ probe) + 1] - first, order)


def _expanded(first: Rows, counts: Rows, order: Rows) -> Iterator[tuple[Rows, Rows]]:
    """(query, order[first[query]]), (query, order[first[query] + 1]), … in bounded pieces."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, _LOOKUPS_AT_ONCE):
        places = np.arange(start, min(start + _LOOKUPS_AT_ONCE, total))
        query = np.searchsorted(ends, places, side="right")
        yield query, order[first[query] + places - (ends[query] - counts[query])]
