"""The artifact store: bytes by path, on any fsspec file system, checked by sha256."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import fsspec

from core.errors import ArtifactCorrupt


@dataclass(frozen=True)
class Stored:
    path: str
    sha256: str
    bytes: int


class ArtifactStore:
    """Artifacts below an fsspec URL (a folder, s3://bucket/prefix). A row in the database makes one exist."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)

    def put(self, path: str, content: bytes) -> Stored:
        """Writes `content` at `path`, relative to the store's root. The caller writes the row that publishes it."""
        with self._files.open(f"{self._root}/{path}", "wb") as file:
            file.write(content)
        self._make_durable(path)
        return Stored(path, hashlib.sha256(content).hexdigest(), len(content))

    def get(self, path: str, sha256: str) -> bytes:
        """The bytes at `path`. Raises ArtifactCorrupt when they are missing or differ from what was recorded."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{path}")
        except FileNotFoundError:
            raise ArtifactCorrupt(f"artifact {path} is missing from the store") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactCorrupt(f"artifact {path} does not match its recorded sha256")
        return content

    def _make_durable(self, path: str) -> None:
        """A local file survives a power cut only once it and its folder are synced."""
        if "file" not in self._files.protocol:
            return
        file = Path(f"{self._root}/{path}")
        for target in (file, file.parent):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
