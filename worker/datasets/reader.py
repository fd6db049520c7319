"""Reading a stored dataset for training: any image by one read at a known offset, on any number of threads.

Nothing but the index (20 bytes an image) is kept in memory; files are read, not mapped, so that their pages do not count
as the trainer's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.dataset_content import INDEX, Split, StoredDataset, StoredSplit
from core.errors import ArtifactCorrupt, TrainingFailure
from core.records import FOOTER_BYTES, BrokenRecord, checked_payload
from core.states import Reason

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int32]


class SplitReader:
    """One split. Close it, or use it in a `with` block."""

    def __init__(self, folder: Path, split: StoredSplit) -> None:
        """`folder` holds the split's files. Raises TrainingFailure INVALID_DATASET when its index is damaged."""
        content = _read_file(folder / split.index.name)
        if hashlib.sha256(content).hexdigest() != split.index.sha256:
            raise _damaged(f"{folder / split.index.name} does not match its recorded sha256")
        self._index = np.frombuffer(content, INDEX)
        self._paths = [folder / shard.name for shard in split.shards]
        self._files = [_open(path) for path in self._paths]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def labels(self) -> Labels:
        """Shape (images,)."""
        labels: Labels = self._index["label"].astype(np.int32)
        return labels

    def shape(self, position: int) -> tuple[int, int, int]:
        entry = self._index[position]
        return int(entry["height"]), int(entry["width"]), int(entry["channels"])

    def image(self, position: int) -> Pixels:
        """Pixels of shape (height, width, channels), checked. Raises TrainingFailure INVALID_DATASET."""
        entry = self._index[position]
        shape = self.shape(position)
        length = shape[0] * shape[1] * shape[2] + FOOTER_BYTES
        shard = int(entry["shard"])
        try:
            content = os.pread(self._files[shard], length, int(entry["offset"]))
            return np.frombuffer(checked_payload(content), np.uint8).reshape(shape)
        except (BrokenRecord, ValueError) as error:
            raise _damaged(f"image {position} in {self._paths[shard]}: {error}") from None

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files = []


def local_folder(dataset: StoredDataset, split: Split, store: ArtifactStore, cache: Path) -> Path:
    """Where the split's files lie on this machine; fetched into the cache first where the store is elsewhere.

    Raises TrainingFailure INVALID_DATASET.
    """
    here = store.local_path(dataset.path)
    if here is not None:
        return here
    target = cache / "datasets" / dataset.digest / split
    stored = dataset.content.splits[split]

    def fetch(folder: Path) -> None:
        for file in (stored.index, *stored.shards):
            try:
                store.fetch(f"{dataset.path}/{file.name}", folder / file.name, file.sha256)
            except ArtifactCorrupt as error:
                raise _damaged(error.detail) from None

    return once(target, fetch)


def once(target: Path, make: Callable[[Path], None]) -> Path:
    """The folder `target`, made by `make(folder)` where it is missing: in one rename, whole or not at all."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        make(folder)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another trainer was faster, with the same content
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise _damaged(f"{path} is missing") from None


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _damaged(f"{path} is missing") from None


def _damaged(detail: str) -> TrainingFailure:
    return TrainingFailure(
        Reason.INVALID_DATASET, f"the stored dataset is damaged: {detail}; delete it and register it again"
    )
