"""Model files on this machine, checked: all API processes here read the same ones."""

from __future__ import annotations

import hashlib
import mmap
import os
from contextlib import suppress
from pathlib import Path

import uuid_utils

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt
from core.tables import ArtifactRow


class ModelFiles:
    """A local store's own files; of a store elsewhere, copies below `cache`, the least recently used of which make room."""

    def __init__(self, store: ArtifactStore, cache: Path, most_bytes: int) -> None:
        self._store = store
        self._cache = cache
        self._most = most_bytes

    def verified(self, artifact: ArtifactRow) -> Path:
        """A file with the artifact's bytes. Raises ArtifactCorrupt when they are not what was published; ArtifactStoreFailed."""
        local = self._store.local_path(artifact.path)
        if local is None:
            return self._cached(artifact)
        try:
            if _sha256(local) != artifact.sha256:
                raise ArtifactCorrupt(f"artifact {artifact.path} does not match its recorded sha256")
        except FileNotFoundError:
            raise ArtifactCorrupt(f"artifact {artifact.path} is missing from the store") from None
        except OSError as error:
            raise ArtifactCorrupt(f"artifact {artifact.path} cannot be read: {error.strerror or error}") from error
        return local

    def _cached(self, artifact: ArtifactRow) -> Path:
        file = self._cache / f"{artifact.sha256}.onnx"
        with suppress(OSError):
            if _sha256(file) == artifact.sha256:
                os.utime(file)
                return file
        self._cache.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{uuid_utils.uuid7().hex}")
        try:
            self._store.fetch(artifact.path, unfinished, artifact.sha256)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
        self._make_room(file)
        return file

    def _make_room(self, newest: Path) -> None:
        """A file that another process removes meanwhile is of no concern: whoever has it open keeps it."""
        kept = 0
        found = []
        for file in self._cache.glob("*.onnx"):
            with suppress(FileNotFoundError):
                found.append((file.stat().st_mtime, file.stat().st_size, file))
        for _, size, file in sorted(found, reverse=True):
            kept += size
            if kept > self._most and file != newest:
                file.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    """Of a mapping of the file: processes that check the same one share its pages."""
    with file.open("rb") as opened:
        if not os.fstat(opened.fileno()).st_size:
            return hashlib.sha256().hexdigest()
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return hashlib.sha256(content).hexdigest()
