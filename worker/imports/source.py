"""What every format's reader gives to an import, and how it says no.

A reader is opened over files that may be hostile: it checks their structure within the limits before the first image is
read, and never trusts a size that a file declares about itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.dataset_content import SPLITS, Split
from core.settings import Settings

__all__ = [
    "SPLITS",
    "FileError",
    "ImportOptions",
    "Item",
    "Limits",
    "Pixels",
    "Rejected",
    "Source",
    "Split",
    "UploadedFile",
    "fetched",
]

Pixels = NDArray[np.uint8]
"""(height, width, channels), 0-255; channels is 1 or 3."""

MOST_ERRORS = 100
"""named in a report; the rest is counted."""


@dataclass(frozen=True)
class FileError:
    """One thing wrong with one file: a path inside the upload, or a place such as `x_train[17]`."""

    file: str
    code: str
    detail: str


class Rejected(Exception):
    """The upload cannot become a dataset. `errors` holds up to MOST_ERRORS of the `total`."""

    def __init__(self, errors: Sequence[FileError], total: int | None = None) -> None:
        self.errors = tuple(errors[:MOST_ERRORS])
        self.total = len(errors) if total is None else total
        first = self.errors[0]
        more = f", and {self.total - 1} more" if self.total > 1 else ""
        super().__init__(f"{first.file}: {first.detail}{more}")


@dataclass(frozen=True)
class UploadedFile:
    """A file of an upload: `name` is what the client called it and only for people, `path` where it lies."""

    name: str
    path: Path


def fetched(store: ArtifactStore, upload: dict[str, Any], scratch: Path) -> UploadedFile:
    """The uploaded file on this machine; fetched where the store is elsewhere."""
    path = store.local_path(upload["path"])
    if path is None:
        path = scratch / upload["path"].rsplit("/", 1)[-1]
        store.fetch(upload["path"], path, upload["sha256"])
    return UploadedFile(upload["name"], path)


@dataclass(frozen=True)
class Limits:
    """What an upload may cost, counted while it is read."""

    entries: int = 2_000_000
    """members of an archive, images of a set"""
    expanded_bytes: int = 64 << 30
    """of all members after decompression"""
    member_bytes: int = 1 << 30
    """of one member after decompression; arrays of an npz, which are streamed, may have expanded_bytes"""
    ratio: int = 200
    """expanded to compressed bytes, once RATIO_GRACE_BYTES have been expanded"""
    depth: int = 8
    """folders above an image"""
    image_pixels: int = 50_000_000
    classes: int = 10_000

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """As they are configured."""
        return cls(
            entries=settings.max_dataset_images,
            expanded_bytes=settings.max_expanded_bytes,
            image_pixels=settings.max_image_pixels,
        )


@dataclass(frozen=True)
class ImportOptions:
    """What the client chose."""

    cifar_labels: Literal["fine", "coarse"] = "fine"
    on_corrupt: Literal["reject", "skip"] = "reject"


@dataclass(frozen=True)
class Item:
    """One image to import: an encoded picture, or pixels where the format holds those."""

    split: Split
    label: int
    """index into the source's labels"""
    name: str
    """for people: where it came from"""
    content: bytes | Pixels


class Source(Protocol):
    """An opened, checked upload."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the dataset's order."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the set brings, `train` always among them."""

    @property
    def files_total(self) -> int:
        """How many items there are."""

    def items(self) -> Iterator[Item]:
        """Every image in the dataset's order; memory does not grow with their number. Raises Rejected."""

    def close(self) -> None:
        """Removes what was spooled."""
