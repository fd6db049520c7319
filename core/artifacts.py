"""The artifact store: bytes by path, on any fsspec file system, checked by sha256."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from core.errors import ArtifactCorrupt


@dataclass(frozen=True)
class Stored:
    path: str
    sha256: str
    bytes: int


class Writing:
    """A file of the store while it is written; `sha256` and `bytes` grow with it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class ArtifactStore:
    """Artifacts below an fsspec URL (a folder, s3://bucket/prefix). A row in the database makes one exist."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)

    def put(self, path: str, content: bytes) -> Stored:
        """Writes `content` at `path`, relative to the store's root. The caller writes the row that publishes it."""
        with self.writing(path) as file:
            file.write(content)
        return Stored(path, file.sha256, file.bytes)

    @contextmanager
    def writing(self, path: str) -> Iterator[Writing]:
        """A file at `path` to write piece by piece; durable when the block ends, gone when it raises."""
        try:
            with self._files.open(f"{self._root}/{path}", "wb") as file:
                yield Writing(file)
            self._make_durable(path)
        except BaseException:
            self.delete(path)
            raise

    def delete(self, path: str) -> None:
        """Removes a file or a folder; what is not there is no trouble."""
        with suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/{path}", recursive=True)

    def entries(self, folder: str) -> dict[str, float]:
        """Names directly in a folder, with the time of their last change in seconds since 1970; {} without it."""
        try:
            found = self._files.ls(f"{self._root}/{folder}", detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        return {entry["name"].rstrip("/").rsplit("/", 1)[-1]: _changed(entry) for entry in found}

    def files(self, folder: str) -> dict[str, float]:
        """All files below a folder, however deep, by their path from the root, with the time of their last change."""
        found = self._files.find(f"{self._root}/{folder}".rstrip("/"), detail=True, refresh=True)
        return {name.removeprefix(f"{self._root}/"): _changed(entry) for name, entry in found.items()}

    def local_path(self, path: str) -> Path | None:
        """Where `path` lies on this machine; None for a store elsewhere."""
        return Path(f"{self._root}/{path}") if "file" in self._files.protocol else None

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes start..end of the file at `path`, unchecked. Raises ArtifactCorrupt when they are not all there."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{path}", start=start, end=end)
        except FileNotFoundError:
            raise ArtifactCorrupt(f"artifact {path} is missing from the store") from None
        if len(content) != end - start:
            raise ArtifactCorrupt(f"artifact {path} is cut short")
        return content

    def fetch(self, path: str, target: Path, sha256: str) -> None:
        """Copies the file at `path` to this machine, checked. Raises ArtifactCorrupt."""
        try:
            self._files.get_file(f"{self._root}/{path}", str(target))
        except FileNotFoundError:
            raise ArtifactCorrupt(f"artifact {path} is missing from the store") from None
        with target.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ArtifactCorrupt(f"artifact {path} does not match its recorded sha256")

    def matches(self, path: str, sha256: str) -> bool:
        """Whether the file at `path` is there and as it was recorded."""
        try:
            with self._files.open(f"{self._root}/{path}", "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError:
            return False

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


def _changed(entry: dict[str, Any]) -> float:
    """Fsspec's file systems name the time of a change each in their own way; without one: now."""
    value = entry.get("mtime") or entry.get("LastModified") or entry.get("created")
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else time.time()
