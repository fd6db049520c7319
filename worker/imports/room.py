"""How much an import may store: pictures of a few bytes can hold a million pixels each, as archives hold a million zeros."""

from __future__ import annotations

import shutil

from core.artifacts import ArtifactStore
from worker.imports.source import FileError, Rejected

GRACE_BYTES = 1 << 30
"""stored whatever the upload's size"""
MOST_TIMES = 200
"""the upload's bytes, beyond the grace"""
LEAST_FREE = 0.02
"""of the disk"""
LOOK_BYTES = 16 << 20
"""stored between two looks at the disk"""


class Room:
    """Raises Rejected when an import would take too much."""

    def __init__(self, store: ArtifactStore, most_bytes: int, uploaded: int) -> None:
        self._folder = store.local_path("datasets")
        self._most = min(most_bytes, max(GRACE_BYTES, MOST_TIMES * uploaded))
        self._looked = 0

    def check(self, file: str, stored: int) -> None:
        """`stored` are the bytes of all pixels so far, those of `file` included."""
        if stored > self._most:
            detail = (
                f"the images so far have more than {self._most} bytes of pixels, too many for an upload of this size"
            )
            raise Rejected([FileError(file, "too_many_bytes", detail)])
        if stored - self._looked < LOOK_BYTES or self._folder is None or not self._folder.exists():
            return
        self._looked = stored
        disk = shutil.disk_usage(self._folder)
        if disk.free < LEAST_FREE * disk.total:
            raise Rejected([FileError(file, "disk_full", "the disk is full; free space and upload the files again")])
