"""What a stored dataset consists of: files in the artifact store, and the figures that the dataset's row keeps.

Each split has shards, TFRecord files of raw uint8 pixels in (height, width, channels) order, and one index: an array of
INDEX, one entry an image in the dataset's order. With it any image is one read at a known offset, from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from core.datasets import DatasetInfo

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

INDEX = np.dtype(
    [
        ("offset", "<u8"),  # of the record's payload in its shard
        ("label", "<u4"),
        ("shard", "<u2"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("channels", "u1"),
        ("reserved", "u1"),
    ]
)

CONTACT_SHEET = "contact-sheet.png"


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True)


class StoredFile(_Stored):
    """A file below the dataset's folder."""

    name: str
    bytes: int
    sha256: str


class StoredSplit(_Stored):
    images: int
    class_counts: tuple[int, ...]
    index: StoredFile
    shards: tuple[StoredFile, ...]


class ImageSizes(_Stored):
    """(height, width) of the images."""

    smallest: tuple[int, int]
    largest: tuple[int, int]
    distinct: int

    @property
    def uniform(self) -> bool:
        return self.distinct == 1


class DatasetContent(_Stored):
    """A READY dataset. `reduced_to` is the longest side that an import left; larger pictures were made smaller."""

    labels: tuple[str, ...]
    splits: dict[Split, StoredSplit]
    sizes: ImageSizes
    channels: int
    """3, or 1 where every image is grayscale"""
    mixed_color: bool = False
    """some images are grayscale and some are not"""
    mean: tuple[float, ...]
    """of each channel over the training images, 0-255"""
    std: tuple[float, ...]
    reduced_to: int | None = None
    contact_sheet: StoredFile

    @property
    def files(self) -> list[StoredFile]:
        files = [self.contact_sheet]
        for split in self.splits.values():
            files += [split.index, *split.shards]
        return files

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def info(self, name: str) -> DatasetInfo:
        """What job specs are checked against."""

        def counts(split: Split) -> tuple[int, ...] | None:
            stored = self.splits.get(split)
            return stored.class_counts if stored is not None else None

        return DatasetInfo(
            name=name,
            labels=self.labels,
            size=self.sizes.largest if self.sizes.uniform else None,
            channels=self.channels,
            train_counts=self.splits["train"].class_counts,
            test_counts=counts("test"),
            validation_counts=counts("validation"),
        )


@dataclass(frozen=True)
class StoredDataset:
    """A dataset as an attempt needs it. `path` is its folder in the artifact store."""

    id: str
    name: str
    digest: str
    path: str
    content: DatasetContent

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "digest": self.digest,
            "path": self.path,
            "content": self.content.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> StoredDataset:
        return cls(**{**document, "content": DatasetContent.model_validate(document["content"])})
