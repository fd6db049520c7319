"""Looking again at images that an import has just stored."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from core.artifacts import ArtifactStore
from core.dataset_content import StoredSplit
from core.dataset_images import read_stored
from worker.datasets.reader import SplitReader
from worker.imports.source import Pixels, Split


class StoredImages:
    """Reads from this machine where the store is here, else by ranges."""

    def __init__(self, store: ArtifactStore, folder: str, splits: Mapping[Split, StoredSplit]) -> None:
        self._store = store
        self._folder = folder
        self._splits = splits
        self._open = ExitStack()
        self._readers: dict[Split, SplitReader] = {}

    def __enter__(self) -> Self:
        local = self._store.local_path(self._folder)
        if local is not None:
            self._readers = {
                split: self._open.enter_context(SplitReader(local, stored)) for split, stored in self._splits.items()
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def read(self, split: Split, index: int) -> Pixels:
        """Pixels of shape (height, width, channels)."""
        reader = self._readers.get(split)
        return reader.image(index) if reader else read_stored(self._store, self._folder, self._splits[split], index)
