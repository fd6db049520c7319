"""Looking again at images that an import has just stored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from core.artifacts import ArtifactStore
from core.dataset_content import INDEX, StoredSplit
from core.dataset_images import read_stored
from core.errors import ArtifactCorrupt
from core.records import FOOTER_BYTES, BrokenRecord, checked_payload
from worker.imports.source import Pixels, Split


class StoredImages:
    """Reads from this machine where the store is here, else by ranges; in memory is nothing but the image."""

    def __init__(self, store: ArtifactStore, folder: str, splits: Mapping[Split, StoredSplit]) -> None:
        self._store = store
        self._folder = folder
        self._splits = splits
        self._open = ExitStack()
        self._files: dict[str, int] = {}

    def __enter__(self) -> Self:
        local = self._store.local_path(self._folder)
        if local is not None:
            for split in self._splits.values():
                for file in (split.index, *split.shards):
                    self._files[file.name] = self._opened(local / file.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def read(self, split: Split, index: int) -> Pixels:
        """Pixels of shape (height, width, channels). Raises ArtifactCorrupt."""
        stored = self._splits[split]
        if not self._files:
            return read_stored(self._store, self._folder, stored, index)
        entry = os.pread(self._files[stored.index.name], INDEX.itemsize, index * INDEX.itemsize)
        try:
            offset, _, shard, height, width, channels, _ = np.frombuffer(entry, INDEX, count=1)[0].item()
            size = height * width * channels + FOOTER_BYTES
            payload = checked_payload(os.pread(self._files[stored.shards[shard].name], size, offset))
            return np.frombuffer(payload, np.uint8).reshape(height, width, channels)
        except (BrokenRecord, ValueError, IndexError) as error:
            raise ArtifactCorrupt(f"{self._folder}: image {index} of {split} as it was stored: {error}") from None

    def _opened(self, path: Path) -> int:
        file = os.open(path, os.O_RDONLY)
        self._open.callback(os.close, file)
        return file
