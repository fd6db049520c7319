"""Pairs of pictures whose hashes are close: few enough to look at, and seldom missing one that matters.

Up to EXHAUSTIVE comparisons of hashes (pairs times views) every pair is compared. Beyond, pairs are looked up in tables
by bands of the hash (multi-index hashing: Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index
Hashing", CVPR 2012): four bands of 16 bits, each as it is, with one bit turned, which finds every pair within
BANDED_RADIUS bits, and with two, as far as there is time. What is kept is bounded: the closest few for every image.
Hashes stay in files: a step takes of them what it compares, the banded search one view and the table of one band.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from worker.imports.fingerprints import Records
from worker.imports.perceptual import OPPOSITE, Hashes
from worker.imports.spool import SpooledHashes
from worker.imports.ticks import Tell
from worker.imports.tiny import TINY_SIDE

Rows = NDArray[np.int64]
Places = NDArray[np.uint32]
Entries = NDArray[np.uint32]
"""(3, n): queries, references, and how unlike they are in sixteenths."""

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

EXHAUSTIVE_SECONDS, LOOKUP_SECONDS = 1.6e-9, 2.5e-8
"""that a comparison and a lookup take, about."""

_QUERIES, _REFERENCES = 64, 2048
"""of one exhaustive step: its distances stay in a core's cache."""
_BANDS, _BAND_BITS = 4, 16
_PROBES = (1, 16, 120)
"""with none, one and two bits of a band turned."""
_BAND_QUERIES = 1 << 16
_LOOKUPS_AT_ONCE = 1 << 18
_PENDING = 1 << 18


@dataclass(frozen=True)
class Looks:
    """Hashes to compare of some rows of a split."""

    rows: Rows
    hashes: SpooledHashes
    records: Records
    """of those rows: mean, contrast and side"""


class Shortlist:
    """The most alike references of each query: `per_query` at most, and `most` altogether."""

    def __init__(self, per_query: int, most: int) -> None:
        self.dropped = 0
        """Entries that were left out; a pair may have been entered several times."""
        self._per_query = per_query
        self._most = most
        self._kept: Entries = np.zeros((3, 0), np.uint32)
        self._pending: list[Entries] = []
        self._waits = 0
        self._cut = np.inf

    def add(self, queries: Rows, references: Rows | Places, unlike: NDArray[np.float32]) -> None:
        """Rows of the two splits and how unlike the pictures are, in about bits of the hash."""
        wanted = unlike * 16 < self._cut
        self.dropped += len(wanted) - int(np.count_nonzero(wanted))
        if not wanted.any():
            return
        entries = np.stack([part[wanted].astype(np.uint32) for part in (queries, references, unlike * 16)])
        self._pending.append(entries)
        self._waits += entries.shape[1]
        if self._waits >= max(_PENDING, self._kept.shape[1] // 2):
            self._prune()

    def pairs(self) -> tuple[Rows, Rows]:
        """(queries, references), each pair once, in no order."""
        self._prune()
        return self._kept[0].astype(np.int64), self._kept[1].astype(np.int64)

    def _prune(self) -> None:
        # What is not among `most` now never will be: each query's entries are only replaced by more alike ones.
        entries = np.concatenate([self._kept, *self._pending], axis=1)
        self._kept, self._pending, self._waits = entries[:, :0], [], 0
        kept = self._closest(_once(entries))
        if kept.shape[1] > self._most:
            order = np.argpartition(kept[2], self._most - 1)[: self._most]
            self.dropped += kept.shape[1] - self._most
            kept = kept[:, order]
            self._cut = float(kept[2].max()) + 1
        self._kept = kept

    def _closest(self, entries: Entries) -> Entries:
        """Of the entries of each query, the closest."""
        entries = entries[:, np.lexsort((entries[2], entries[0]))]
        first = np.searchsorted(entries[0], entries[0])
        near = np.arange(entries.shape[1]) - first < self._per_query
        self.dropped += int(len(near) - np.count_nonzero(near))
        return entries[:, near]


def _once(entries: Entries) -> Entries:
    """Of entries of the same pair, the closest."""
    entries = entries[:, np.lexsort((entries[2], entries[1], entries[0]))]
    again = np.zeros(entries.shape[1], bool)
    again[1:] = (entries[:2, 1:] == entries[:2, :-1]).all(axis=0)
    return entries[:, ~again]


def comparisons(queries: int, references: int | None, views: int) -> int:
    """How many hashes an exhaustive search compares; `references` is None where a set is searched in itself."""
    pairs = queries * (queries - 1) // 2 if references is None else queries * references
    return pairs * views


def search_exhaustively(queries: Looks, references: Looks | None, into: Shortlist, tell: Tell) -> None:
    """Every pair within its radius; without `references`, every image and those before it."""
    others = references or queries
    radii = _radii(queries.records)
    count, views = len(queries.rows), queries.hashes.views
    total = max(1, comparisons(count, len(references.rows) if references else None, views))
    for start in range(0, count, _QUERIES):
        rows = [queries.hashes.read(_opposite(view, views), start, start + _QUERIES) for view in range(views)]
        end = len(others.rows) if references else start + len(rows[0])
        for begin in range(0, end, _REFERENCES):
            stop = min(begin + _REFERENCES, end)
            distance = _distances(rows, [others.hashes.read(view, begin, stop) for view in range(views)])
            query, reference = np.nonzero(distance <= radii[start : start + len(distance), None])
            found = distance[query, reference]
            _offer(queries, others, query + start, reference + begin, found, into, within=references is None)
        done = start + len(rows[0])
        tell(comparisons(done, len(references.rows) if references else None, views) / total)


def search_bands(queries: Looks, references: Looks | None, into: Shortlist, tell: Tell) -> bool:
    """The same pairs within BANDED_RADIUS, and some beyond; False when MOST_LOOKUPS ended it early."""
    others = references or queries
    views = queries.hashes.views
    radii = _radii(queries.records)
    effort = _Effort(len(queries.rows), views, tell)
    for turns, most in enumerate((MOST_LOOKUPS, MOST_LOOKUPS, EXTRA_LOOKUPS)):
        probes = [sum(bits) for bits in combinations([1 << bit for bit in range(_BAND_BITS)], turns)]
        for view in range(views):
            mine = queries.hashes.read(_opposite(view, views), 0, len(queries.rows))
            theirs = others.hashes.read(view, 0, len(others.rows))
            for start, first, counts, order in _lookups(mine, theirs, probes):
                for query, reference in _expanded(start, first, counts, order):
                    if not effort.allows(len(query), most):
                        return turns == len(_PROBES) - 1
                    distance = np.bitwise_count(mine[query] ^ theirs[reference])
                    near = distance <= radii[query]
                    found = query[near], reference[near], distance[near]
                    _offer(queries, others, *found, into, within=references is None)
                effort.step()
    return True


class _Effort:
    """What a banded search has done: by steps, each a probe for some queries, and by the lookups that they took."""

    def __init__(self, queries: int, views: int, tell: Tell) -> None:
        self._steps = sum(_PROBES) * views * _BANDS * -(-queries // _BAND_QUERIES)
        self._done = self._lookups = 0
        self._told = 0.0
        self._tell = tell

    def step(self) -> None:
        self._done += 1
        self._say(self._done / self._steps)

    def allows(self, lookups: int, most: int) -> bool:
        self._lookups += lookups
        self._say(self._lookups / most)
        return self._lookups <= most

    def _say(self, share: float) -> None:
        self._told = max(self._told, min(share, 1.0))
        self._tell(self._told)


def _offer(
    queries: Looks,
    others: Looks,
    query: Rows,
    reference: Rows | Places,
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


def _opposite(view: int, views: int) -> int:
    """The view of one picture that shows what `view` of a copy displaced the other way does."""
    return int(OPPOSITE[view]) if views > 1 else view


def _distances(rows: Sequence[Hashes], references: Sequence[Hashes]) -> NDArray[np.uint8]:
    """(rows, references): over the views, the least number of bits that differ."""
    least = np.full((len(rows[0]), len(references[0])), 255, np.uint8)
    differing = np.empty(least.shape, np.uint64)
    count = np.empty(least.shape, np.uint8)
    for mine, theirs in zip(rows, references, strict=True):
        np.bitwise_xor(mine[:, None], theirs, out=differing)
        np.minimum(least, np.bitwise_count(differing, out=count), out=least)
    return least


def _lookups(mine: Hashes, theirs: Hashes, probes: list[int]) -> Iterator[tuple[int, Rows, Rows, Places]]:
    """For each band, probe and piece of the queries (from the row given on): an order of the references, and where in
    it those that agree with each query but for the probe's bits begin, and how many they are.
    """
    wanted, keys = (hashes.view(np.uint16).reshape(-1, _BANDS) for hashes in (mine, theirs))
    for band in range(_BANDS):
        order = np.argsort(keys[:, band], kind="stable").astype(np.uint32)
        counts = np.bincount(keys[:, band], minlength=1 << _BAND_BITS)
        firsts = np.cumsum(counts) - counts
        for probe in probes:
            for start in range(0, len(mine), _BAND_QUERIES):
                bucket = wanted[start : start + _BAND_QUERIES, band] ^ np.uint16(probe)
                yield start, firsts[bucket], counts[bucket], order


def _expanded(query: int, first: Rows, counts: Rows, order: Places) -> Iterator[tuple[Rows, Places]]:
    """(query, order[first[0]]), (query, order[first[0] + 1]), …, (query + 1, order[first[1]]), … in bounded pieces."""
    ends = np.cumsum(counts)
    offset = first - (ends - counts)
    for start in range(0, int(ends[-1]), _LOOKUPS_AT_ONCE):
        stop = min(start + _LOOKUPS_AT_ONCE, int(ends[-1]))
        low, high = np.searchsorted(ends, start, side="right"), np.searchsorted(ends, stop) + 1
        some = np.minimum(ends[low:high], stop) - np.maximum(ends[low:high] - counts[low:high], start)
        row = np.repeat(np.arange(low, high), some)
        yield row + query, order[np.arange(start, stop) + offset[row]]
