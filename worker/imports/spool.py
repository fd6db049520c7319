"""Numbers by the million that an import puts aside in its scratch folder: files are read, not mapped, so that they do
not count as the importer's memory, and have no name, so that nothing is left of them.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.imports.perceptual import Hashes


class Spool:
    """Bytes at places."""

    def __init__(self) -> None:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (closed with this object)
        self._file = file.fileno()
        weakref.finalize(self, file.close)

    def write(self, place: int, values: NDArray[Any]) -> None:
        rest = np.ascontiguousarray(values).view(np.uint8).reshape(-1).data
        while rest:
            written = os.pwrite(self._file, rest, place)
            place, rest = place + written, rest[written:]

    def read(self, place: int, into: NDArray[Any]) -> None:
        """Fills `into`, which is contiguous."""
        rest = into.view(np.uint8).reshape(-1).data
        while rest:
            read = os.preadv(self._file, [rest], place)
            if not read:
                raise EOFError("a scratch file is cut short")
            place, rest = place + read, rest[read:]


class SpooledHashes:
    """Hashes of shape (n, views), written in pieces of rows, read in pieces of columns."""

    def __init__(self, rows: int, views: int) -> None:
        self._rows = rows
        self.views = views
        self._spool = Spool()

    @classmethod
    def of(cls, hashes: Hashes) -> SpooledHashes:
        spooled = cls(*hashes.shape)
        spooled.write(0, hashes)
        return spooled

    def __len__(self) -> int:
        return self._rows

    def write(self, start: int, hashes: Hashes) -> None:
        """Rows from `start` on."""
        for view in range(self.views):
            self._spool.write(8 * (view * self._rows + start), hashes[:, view].astype(np.uint64, copy=False))

    def read(self, view: int, start: int, stop: int) -> Hashes:
        """(rows,) of one view."""
        found = np.empty(max(0, min(stop, self._rows) - start), np.uint64)
        self._spool.read(8 * (view * self._rows + start), found)
        return found
