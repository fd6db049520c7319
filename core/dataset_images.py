"""Reading single images of a stored dataset straight from the store: what the service shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.dataset_content import INDEX, Split, StoredDataset, StoredSplit
from core.errors import ArtifactCorrupt, ImageNotFound
from core.records import FOOTER_BYTES, BrokenRecord, checked_payload

Pixels = NDArray[np.uint8]


def read_image(store: ArtifactStore, dataset: StoredDataset, split: Split, index: int) -> Pixels:
    """Pixels of shape (height, width, channels). Raises ImageNotFound, ArtifactCorrupt."""
    stored = dataset.content.splits.get(split)
    if stored is None or not 0 <= index < stored.images:
        there = 0 if stored is None else stored.images
        raise ImageNotFound(f"dataset {dataset.name!r} has {there} {split} images, numbered from 0")
    return read_stored(store, dataset.path, stored, index)


def read_stored(store: ArtifactStore, folder: str, split: StoredSplit, index: int) -> Pixels:
    """The image at `index` of a split whose files lie in `folder`. Raises ArtifactCorrupt."""
    place = f"{folder}/{split.index.name}"
    content = store.read_range(place, index * INDEX.itemsize, (index + 1) * INDEX.itemsize)
    entry = np.frombuffer(content, INDEX, count=1)[0]
    shape = int(entry["height"]), int(entry["width"]), int(entry["channels"])
    start, shard = int(entry["offset"]), int(entry["shard"])
    if shard >= len(split.shards):
        raise ArtifactCorrupt(f"{place} is damaged")
    name = split.shards[shard].name
    end = start + shape[0] * shape[1] * shape[2] + FOOTER_BYTES
    try:
        payload = checked_payload(store.read_range(f"{folder}/{name}", start, end))
    except BrokenRecord as error:
        raise ArtifactCorrupt(f"{folder}/{name}: {error}") from None
    return np.frombuffer(payload, np.uint8).reshape(shape)
