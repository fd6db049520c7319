"""What an import remembers of every image, so that duplicates can be found after it: 33 bytes an image, in a file.

Nothing here needs an image twice: `add` takes it as it passes by, and small batches of thumbnails wait for their
cosines, so that NumPy does many at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.imports.perceptual import HASHED, SIDE, contrast, hashes, spectra, thumbnail
from worker.imports.source import SPLITS, Pixels, Split
from worker.imports.spool import Spool

Records = NDArray[Any]
"""Of some or all FIELDS, one an image, in the order of the split."""

FIELDS = np.dtype(
    [
        ("look", "<u8"),  # the perceptual hash of the whole picture
        ("digest", "<u8", 2),  # BLAKE2b of shape and pixels
        ("label", "<i4"),
        ("mean", "<f2"),  # luma
        ("contrast", "<f2"),  # grey levels
        ("side", "u1"),  # the shorter one, 255 at most
    ]
)
FLAT_CONTRAST = 1.0
"""Grey levels; below it a picture has no look to compare, only pixels."""

_BATCH = 512
_READ_AT_ONCE = 1 << 15


class Fingerprints:
    """Fingerprints of a growing dataset."""

    def __init__(self) -> None:
        self._columns = {split: _Column() for split in SPLITS}

    def add(self, split: Split, label: int, pixels: Pixels) -> None:
        """The next image of `split`; its index is the number of images that came before it there."""
        self._columns[split].add(label, pixels)

    def records(self, split: Split, *fields: str) -> Records:
        """Read again each time; only `fields`, where some are named."""
        return self._columns[split].records(fields or FIELDS.names or ())

    def count(self, split: Split) -> int:
        return len(self._columns[split])

    def splits(self) -> tuple[Split, ...]:
        """Those that have images."""
        return tuple(split for split in SPLITS if len(self._columns[split]))

    def __len__(self) -> int:
        return sum(len(column) for column in self._columns.values())


def is_flat(records: Records) -> NDArray[np.bool_]:
    flat: NDArray[np.bool_] = records["contrast"] < FLAT_CONTRAST
    return flat


def exact_digest(pixels: Pixels) -> NDArray[np.uint64]:
    """(2,): equal for equal shape and pixels, else different."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(digest.digest(), np.uint64)


def repeats(digests: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of digests (n, 2): the rows that equal an earlier one, in order, and the first one that each equals."""
    some = _in_doubt(digests[:, 0])
    order = some[np.lexsort((digests[some, 1], digests[some, 0]))]  # stable: equal digests stay in order
    again = np.zeros(len(order), bool)
    again[1:] = (digests[order[1:]] == digests[order[:-1]]).all(axis=1)
    first = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))] if len(order) else order
    later = np.argsort(order[again])
    return order[again][later], first[again][later]


def _in_doubt(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows of words that occur more than once: few as a rule, and sorting values costs less memory than sorting rows."""
    ordered = np.sort(words)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return np.zeros(0, np.int64)
    del ordered
    place = np.minimum(np.searchsorted(repeated, words), len(repeated) - 1)
    return np.flatnonzero(repeated[place] == words)


class _Column:
    """The records of one split: a batch at a time in memory."""

    def __init__(self) -> None:
        self._written = 0
        self._waits = 0
        self._spool: Spool | None = None
        self._records = np.zeros(0, FIELDS)
        self._waiting = np.empty((0, SIDE, SIDE), np.uint8)

    def __len__(self) -> int:
        return self._written + self._waits

    def add(self, label: int, pixels: Pixels) -> None:
        if not len(self._records):
            self._records = np.zeros(_BATCH, FIELDS)
            self._waiting = np.empty((_BATCH, SIDE, SIDE), np.uint8)
        record = self._records[self._waits]
        record["label"] = label
        record["digest"] = exact_digest(pixels)
        record["side"] = min(*pixels.shape[:2], 255)
        self._waiting[self._waits] = thumbnail(pixels)
        self._waits += 1
        if self._waits == _BATCH:
            self._settle()

    def records(self, fields: Sequence[str]) -> Records:
        self._settle()
        found = np.zeros(self._written, [(name, FIELDS[name]) for name in fields])
        block = np.empty(min(_READ_AT_ONCE, self._written), FIELDS)
        for start in range(0, self._written, _READ_AT_ONCE):
            some = block[: self._written - start]
            self._opened().read(start * FIELDS.itemsize, some)
            for name in fields:
                found[name][start : start + len(some)] = some[name]
        return found

    def _settle(self) -> None:
        if not self._waits:
            return
        # The whole picture's cosines do not depend on its size: all shapes share a batch.
        found = spectra(self._waiting[: self._waits], (SIDE, SIDE), HASHED, views=1)
        rows = self._records[: self._waits]
        rows["look"] = hashes(found)[:, 0]
        rows["contrast"] = contrast(found)
        rows["mean"] = found[:, 0, 0, 0] / SIDE
        self._opened().write(self._written * FIELDS.itemsize, rows)
        self._written += self._waits
        self._waits = 0

    def _opened(self) -> Spool:
        self._spool = self._spool or Spool()
        return self._spool
