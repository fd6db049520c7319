"""The images of one part of a job's split, at its network's input size: in memory where they fit, else read as needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.dataset_content import Split, StoredDataset, StoredSplit
from core.images import resize_pixels
from core.settings import Settings
from worker.datasets.reader import Labels, Pixels, SplitReader, local_folder, once
from worker.datasets.storage import SplitWriter

Shape = tuple[int, int, int]
"""height, width, channels"""

Positions = NDArray[np.int64]


class Images(Protocol):
    """Labels of shape (images,), and pixels on demand."""

    @property
    def labels(self) -> Labels: ...

    @property
    def shape(self) -> Shape: ...

    def gather(self, positions: Positions) -> Pixels:
        """Pixels of shape (positions, *shape), uint8, safe on any number of threads."""


@dataclass(frozen=True)
class MemoryImages:
    """Images held as one array of shape (images, *shape)."""

    labels: Labels
    shape: Shape
    pixels: Pixels

    def gather(self, positions: Positions) -> Pixels:
        return self.pixels[positions]


def spread(images: Images, most: int) -> MemoryImages:
    """Up to `most` of them, at even distances: also of images that lie class by class, some of each."""
    count = len(images.labels)
    some = np.linspace(0, count - 1, min(most, count)).astype(np.int64)
    return MemoryImages(images.labels[some], images.shape, images.gather(some))


@dataclass(frozen=True)
class StreamedImages:
    """Images read from records that have the network's shape already. `members` are their positions in the split."""

    labels: Labels
    shape: Shape
    reader: SplitReader
    members: Positions

    def gather(self, positions: Positions) -> Pixels:
        pixels = np.empty((len(positions), *self.shape), np.uint8)
        for row, member in enumerate(self.members[positions]):
            pixels[row] = self.reader.image(int(member))
        return pixels


class SplitImages:
    """A split of a stored dataset on this machine, from which the parts of jobs are taken."""

    def __init__(self, dataset: StoredDataset, split: Split, store: ArtifactStore, settings: Settings) -> None:
        """Raises TrainingFailure INVALID_DATASET when files are missing or damaged."""
        self._dataset = dataset
        self._split = split
        self._settings = settings
        self._reader = SplitReader(local_folder(dataset, split, store, settings.cache), dataset.content.splits[split])

    @property
    def labels(self) -> Labels:
        """Of all images of the split, as the dataset numbers its classes; shape (images,)."""
        return self._reader.labels

    def take(self, members: Positions, labels: Labels, shape: Shape) -> Images:
        """The images at positions `members` of the split, with the job's own `labels`, at `shape`."""
        if len(members) * shape[0] * shape[1] * shape[2] <= self._settings.cache_pixel_bytes:
            pixels = np.empty((len(members), *shape), np.uint8)
            for row, member in enumerate(members):
                pixels[row] = resize_pixels(self._reader.image(int(member)), *shape)
            return MemoryImages(labels, shape, pixels)
        reader = self._reader if self._stored_at(shape) else self._resized(shape)
        return StreamedImages(labels, shape, reader, members)

    def _stored_at(self, shape: Shape) -> bool:
        content = self._dataset.content
        return content.sizes.uniform and (*content.sizes.largest, content.channels) == shape and not content.mixed_color

    def _resized(self, shape: Shape) -> SplitReader:
        """A copy of the split at another size, made once for all jobs on this machine that want it."""
        name = "x".join(map(str, shape))
        folder = once(self._settings.cache / "pixels" / self._dataset.digest / name / self._split, self._resize(shape))
        stored = StoredSplit.model_validate_json((folder / "split.json").read_bytes())
        return SplitReader(folder, stored)

    def _resize(self, shape: Shape) -> _Resizing:
        return _Resizing(self._reader, self._split, len(self._dataset.content.labels), shape)


@dataclass(frozen=True)
class _Resizing:
    """Writes a resized copy of a split into a folder."""

    reader: SplitReader
    split: Split
    classes: int
    shape: Shape

    def __call__(self, folder: Path) -> None:
        print(f"resizing {len(self.reader)} {self.split} images to {'x'.join(map(str, self.shape))}", flush=True)
        writer = SplitWriter(ArtifactStore(str(folder.parent)), folder.name, self.split, self.classes)
        for position, label in enumerate(self.reader.labels):
            writer.add(int(label), resize_pixels(self.reader.image(position), *self.shape))
        (folder / "split.json").write_text(writer.finish().model_dump_json(), encoding="utf-8")
