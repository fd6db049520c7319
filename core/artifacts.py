"""The artifact store: bytes by path, in a folder or on S3, checked by sha256."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from core.errors import ArtifactCorrupt, ArtifactStoreFailed
from core.settings import Settings

SHORT_PATIENCE_SECONDS = 2.0
"""for an S3 server that is away: a request's, or a supervisor's"""
BLOCK_BYTES = 8 << 20
"""Read or written at once. On S3 the least of a part of an upload, the most being twice that; it takes 10,000 parts."""


@dataclass(frozen=True)
class S3Access:
    """How an S3 server is reached. What is left open, the standard AWS variables and files say."""

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    patience_seconds: float = SHORT_PATIENCE_SECONDS


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
        # In pieces, because what is written at once is sent at once.
        for start in range(0, len(data), BLOCK_BYTES):
            self._file.write(data[start : start + BLOCK_BYTES])
        self._hash.update(data)
        self.bytes += len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class ArtifactStore:
    """Artifacts below an fsspec URL (a folder, s3://bucket/prefix). A row in the database makes one exist.

    Each operation raises ArtifactStoreAway when an S3 server stays away for `patience_seconds`, and
    ArtifactStoreRefused when it refuses; a folder raises OSError.
    """

    def __init__(self, url: str, s3: S3Access | None = None) -> None:
        if url.startswith("s3://"):
            self._files, self._root = _on_s3(url, s3 or S3Access())
        else:
            self._files, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)
        self._local = "file" in self._files.protocol

    def prepare(self) -> None:
        """Makes the bucket where S3 has none of that name; a folder is made when something is put there."""
        if not self._local:
            self._files.make_bucket(self._root)

    def put(self, path: str, content: bytes) -> Stored:
        """Writes `content` at `path`, relative to the store's root. The caller writes the row that publishes it."""
        with self.writing(path) as file:
            file.write(content)
        return Stored(path, file.sha256, file.bytes)

    @contextmanager
    def writing(self, path: str) -> Iterator[Writing]:
        """A file at `path` to write piece by piece; durable when the block ends, gone when it raises."""
        file = self._files.open(f"{self._root}/{path}", "wb")
        try:
            yield Writing(file)
            file.close()
            self._make_durable(path)
        except BaseException:
            self._abandon(file, path)
            raise

    def delete(self, path: str) -> None:
        """Removes a file or a folder; what is not there is no trouble."""
        with suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/{path}", recursive=True)

    def discard(self, path: str) -> bool:
        """Removes what no row names any more. False when the store is away: then it stays, as after a crash."""
        try:
            self.delete(path)
        except ArtifactStoreFailed:
            return False
        return True

    def drop_unfinished(self, older_than_seconds: float) -> int:
        """Ends uploads that were begun so long ago and never finished; only S3 keeps such. Returns how many."""
        return 0 if self._local else int(self._files.drop_unfinished(self._root, older_than_seconds))

    def entries(self, folder: str) -> dict[str, float]:
        """Names directly in a folder, with the time of their last change in seconds since 1970; {} without it.

        A folder on S3 has no time of its own: 0.
        """
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
        return Path(f"{self._root}/{path}") if self._local else None

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes start..end of the file at `path`, unchecked. Raises ArtifactCorrupt when they are not all there."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{path}", start=start, end=end)
        except FileNotFoundError:
            raise _missing(path) from None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            content = b""  # S3's word for a range that begins beyond the end
        if len(content) != end - start:
            raise ArtifactCorrupt(f"artifact {path} is cut short")
        return content

    def fetch(self, path: str, target: Path, sha256: str) -> None:
        """Copies the file at `path` to this machine, checked. Raises ArtifactCorrupt."""
        try:
            self._files.get_file(f"{self._root}/{path}", str(target))
        except FileNotFoundError:
            raise _missing(path) from None
        with target.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise _changed_since(path)

    def matches(self, path: str, sha256: str) -> bool:
        """Whether the file at `path` is there and as it was recorded."""
        content = hashlib.sha256()
        try:
            for block in self.blocks(path):
                content.update(block)
        except (ArtifactCorrupt, OSError):
            return False
        return content.hexdigest() == sha256

    def blocks(self, path: str) -> Iterator[bytes]:
        """The file at `path`, unchecked, piece by piece. Raises ArtifactCorrupt when it is missing."""
        try:
            size = int(self._files.size(f"{self._root}/{path}"))
        except FileNotFoundError:
            raise _missing(path) from None
        for start in range(0, size, BLOCK_BYTES):
            yield self.read_range(path, start, min(start + BLOCK_BYTES, size))

    def get(self, path: str, sha256: str) -> bytes:
        """The bytes at `path`. Raises ArtifactCorrupt when they are missing or differ from what was recorded."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{path}")
        except FileNotFoundError:
            raise _missing(path) from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _changed_since(path)
        return content

    def _abandon(self, file: Any, path: str) -> None:
        if self._local:
            with suppress(OSError):  # a full disk would complain again
                file.close()
            self.delete(path)
            return
        file.closed = True  # or it would be finished when it is collected
        with suppress(ArtifactStoreFailed):  # what stays is an unfinished upload, which nobody sees
            file.discard()

    def _make_durable(self, path: str) -> None:
        """A local file survives a power cut only once it and its folder are synced."""
        if not self._local:
            return
        file = Path(f"{self._root}/{path}")
        for target in (file, file.parent):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def open_store(settings: Settings, patience_seconds: float = SHORT_PATIENCE_SECONDS) -> ArtifactStore:
    """The configured store."""
    secret = settings.s3_secret_access_key
    access = S3Access(
        settings.s3_endpoint,
        settings.s3_region,
        settings.s3_access_key_id,
        secret.get_secret_value() if secret else None,
        patience_seconds,
    )
    return ArtifactStore(settings.artifacts, access)


def _on_s3(url: str, access: S3Access) -> tuple[Any, str]:
    """The file system and the root in it. Connects at first use."""
    from core.s3 import S3Files

    files = S3Files(
        patience=access.patience_seconds,
        endpoint_url=access.endpoint,
        key=access.access_key_id,
        secret=access.secret_access_key,
        client_kwargs={"region_name": access.region} if access.region else {},
    )
    return files, url.removeprefix("s3://").rstrip("/")


def _missing(path: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"artifact {path} is missing from the store")


def _changed_since(path: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"artifact {path} does not match its recorded sha256")


def _changed(entry: dict[str, Any]) -> float:
    """Fsspec's file systems name the time of a change each in their own way."""
    value = entry.get("mtime") or entry.get("LastModified") or entry.get("created")
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else 0.0
