"""What an import remembers of every image, so that duplicates can be found after it: 33 bytes an image.

Nothing here needs an image twice: `add` takes it as it passes by, and small batches of thumbnails wait for their
cosines, so that NumPy does many at once.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.imports.perceptual import HASHED, SIDE, contrast, hashes, spectra, thumbnail
from worker.imports.source import SPLITS, Pixels, Split

Records = NDArray[Any]
"""Of FIELDS, one an image, in the order of the split."""

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
_FIRST_ROOM = 1024


class Fingerprints:
    """Fingerprints of a growing dataset."""

    def __init__(self) -> None:
        self._columns = {split: _Column() for split in SPLITS}

    def add(self, split: Split, label: int, pixels: Pixels) -> None:
        """The next image of `split`; its index is the number of images that came before it there."""
        self._columns[split].add(label, pixels)

    def records(self, split: Split) -> Records:
        """Read-only, valid until the next `add`."""
        return self._columns[split].records()

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


def first_equal(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n,) for digests (n, 2): the first row that has the same, the row itself where none before it has."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal digests stay in order
    ordered = digests[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    return first


class _Column:
    """The records of one split, in an array that grows by half its size."""

    def __init__(self) -> None:
        self._records = np.zeros(0, FIELDS)
        self._filled = 0
        self._waiting = np.empty((0, SIDE, SIDE), np.uint8)
        self._waits = 0

    def __len__(self) -> int:
        return self._filled

    def add(self, label: int, pixels: Pixels) -> None:
        if self._filled == len(self._records):
            self._grow()
        record = self._records[self._filled]
        record["label"] = label
        record["digest"] = exact_digest(pixels)
        record["side"] = min(*pixels.shape[:2], 255)
        self._waiting[self._waits] = thumbnail(pixels)
        self._filled += 1
        self._waits += 1
        if self._waits == _BATCH:
            self._settle()

    def records(self) -> Records:
        self._settle()
        view = self._records[: self._filled]
        view.flags.writeable = False
        return view

    def _grow(self) -> None:
        if not len(self._records):
            self._waiting = np.empty((_BATCH, SIDE, SIDE), np.uint8)
        room = np.zeros(max(_FIRST_ROOM, len(self._records) * 3 // 2), FIELDS)
        room[: self._filled] = self._records[: self._filled]
        self._records = room

    def _settle(self) -> None:
        if not self._waits:
            return
        # The whole picture's cosines do not depend on its size: all shapes share a batch.
        found = spectra(self._waiting[: self._waits], (SIDE, SIDE), HASHED, views=1)
        rows = self._records[self._filled - self._waits : self._filled]
        rows["look"] = hashes(found)[:, 0]
        rows["contrast"] = contrast(found)
        rows["mean"] = found[:, 0, 0, 0] / SIDE
        self._waits = 0
