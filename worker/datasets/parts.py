"""The parts that a job's dataset spec divides a stored dataset into: which images of which split, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.artifacts import ArtifactStore
from core.dataset_content import Split, StoredDataset
from core.jobspec import DatasetSpec
from core.settings import Settings
from core.splits import Indices, split
from core.views import chosen_classes, split_plan
from worker.datasets.images import Images, Shape, SplitImages
from worker.datasets.reader import Labels


@dataclass(frozen=True)
class Part:
    """Images at positions `members` of the stored `split`; `labels` count the job's own classes from 0."""

    images: SplitImages
    split: Split
    members: Indices
    labels: Labels


class Parts:
    """Raises TrainingFailure INVALID_DATASET, as its methods do, when files of the dataset are missing or damaged."""

    def __init__(self, dataset: StoredDataset, spec: DatasetSpec, store: ArtifactStore, settings: Settings) -> None:
        """`spec` is normalised."""
        self._dataset = dataset
        self._store = store
        self._settings = settings
        self._classes = chosen_classes(spec, dataset.content.info(dataset.name))
        self._pool = self._opened("train")
        divided = split(self._pool.labels, len(self._classes), split_plan(spec))
        self._taken: dict[Split, Indices] = {
            "train": divided.train,
            "validation": divided.validation,
            "test": divided.test,
        }

    def find(self, name: Split) -> Part:
        """A split of the dataset's own, or what the spec takes of the images that it calls train."""
        if name in self._dataset.content.splits and name != "train":
            return self._opened(name)
        pool, taken = self._pool, self._taken[name]
        return Part(pool.images, pool.split, pool.members[taken], pool.labels[taken])

    def take(self, name: Split, shape: Shape) -> Images:
        """The part's images at `shape`."""
        part = self.find(name)
        return part.images.take(part.members, part.labels, shape)

    def _opened(self, name: Split) -> Part:
        """The chosen classes' images in a stored split."""
        images = SplitImages(self._dataset, name, self._store, self._settings)
        return Part(images, name, *_only_classes(images.labels, self._classes))


def _only_classes(labels: Labels, classes: Sequence[int]) -> tuple[Indices, Labels]:
    """Positions of the images of these classes, and their labels remapped to 0..len(classes)-1."""
    position = np.full(max(int(labels.max(initial=0)), *classes) + 1, -1, dtype=np.int32)
    position[list(classes)] = np.arange(len(classes))
    remapped = position[labels]
    members = np.flatnonzero(remapped >= 0)
    return members, remapped[members]
