"""Writing a dataset's files: sharded TFRecord of raw pixels with an index, and a digest over what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.artifacts import ArtifactStore, Writing
from core.dataset_content import INDEX, SPLITS, Split, StoredFile, StoredSplit
from core.records import HEADER_BYTES, frame

SHARD_BYTES = 128 << 20
INDEX_BLOCK = 4096
"""entries that wait to be written"""

Opened = tuple[ExitStack, Writing]


class _Abandoned(Exception):
    """Tells the store that a file will not be finished."""


class SplitWriter:
    """Appends the images of one split."""

    def __init__(self, store: ArtifactStore, folder: str, split: Split, classes: int) -> None:
        self._store = store
        self._prefix = f"{folder}/{split}"
        self._split = split
        self._shard: Opened | None = None
        self._shards: list[StoredFile] = []
        self._index: Opened | None = None
        self._entries = np.zeros(INDEX_BLOCK, INDEX)
        self._images = 0
        self._counts = [0] * classes
        self._digest = hashlib.sha256()

    @property
    def images(self) -> int:
        return self._images

    def add(self, label: int, pixels: NDArray[np.uint8]) -> None:
        """`pixels` of shape (height, width, 1 or 3)."""
        shard = self._open_shard()
        height, width, channels = pixels.shape
        position = self._images % INDEX_BLOCK
        if position == 0 and self._images:
            self._open_index().write(self._entries.tobytes())
        place = shard.bytes + HEADER_BYTES
        self._entries[position] = (place, label, len(self._shards), height, width, channels, 0)
        content = pixels.tobytes()
        shard.write(frame(content))
        self._digest.update(f"{height},{width},{channels},{label};".encode())
        self._digest.update(content)
        self._images += 1
        self._counts[label] += 1
        if shard.bytes >= SHARD_BYTES:
            self._close_shard()

    def finish(self) -> StoredSplit:
        """Closes the last shard and the index."""
        self._close_shard()
        index = self._close_index()
        return StoredSplit(
            images=self._images, class_counts=tuple(self._counts), index=index, shards=tuple(self._shards)
        )

    def abandon(self) -> None:
        """Closes what is open, unfinished; the folder is removed as a whole."""
        for opened in (self._shard, self._index):
            if opened is not None:
                error = _Abandoned()
                with suppress(_Abandoned):
                    opened[0].__exit__(_Abandoned, error, None)
        self._shard = self._index = None

    @property
    def digest(self) -> bytes:
        return self._digest.digest()

    def _open_shard(self) -> Writing:
        if self._shard is None:
            self._shard = self._opened(f"{self._prefix}-{len(self._shards):05}.tfrecord")
        return self._shard[1]

    def _close_shard(self) -> None:
        if self._shard is None:
            return
        stack, writing = self._shard
        stack.close()
        name = f"{self._split}-{len(self._shards):05}.tfrecord"
        self._shards.append(StoredFile(name=name, bytes=writing.bytes, sha256=writing.sha256))
        self._shard = None

    def _open_index(self) -> Writing:
        if self._index is None:
            self._index = self._opened(f"{self._prefix}.index")
        return self._index[1]

    def _close_index(self) -> StoredFile:
        writing = self._open_index()
        waiting = self._images - writing.bytes // INDEX.itemsize
        writing.write(self._entries[:waiting].tobytes())
        if self._index is not None:
            self._index[0].close()
        self._index = None
        return StoredFile(name=f"{self._split}.index", bytes=writing.bytes, sha256=writing.sha256)

    def _opened(self, path: str) -> Opened:
        stack = ExitStack()
        return stack, stack.enter_context(self._store.writing(path))


class DatasetWriter:
    """Writes all splits below one folder of the store."""

    def __init__(self, store: ArtifactStore, folder: str, labels: Sequence[str], splits: Sequence[Split]) -> None:
        self._labels = tuple(labels)
        self._writers = {split: SplitWriter(store, folder, split, len(labels)) for split in SPLITS if split in splits}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.abandon()

    def add(self, split: Split, label: int, pixels: NDArray[np.uint8]) -> int:
        """Returns the image's index in its split."""
        writer = self._writers[split]
        writer.add(label, pixels)
        return writer.images - 1

    def finish(self) -> Mapping[Split, StoredSplit]:
        return {split: writer.finish() for split, writer in self._writers.items()}

    def digest(self) -> str:
        """sha256 over labels and every split's sizes, labels and pixels, in order: equal images, equal digest."""
        content = hashlib.sha256()
        for label in self._labels:
            content.update(f"{len(label)}:{label},".encode())
        for split, writer in self._writers.items():
            content.update(f"{split}:".encode() + writer.digest)
        return content.hexdigest()
