"""The IDX files of MNIST and its likes, gzip'd or plain: images and labels for train, and for test where sent.

A file's role comes from its content (one dimension: labels, three: images), its split from its name: `train…`, or
`t10k…` and `test…`. Labels are "0" to "9", or as many as there are.

Source of the format: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.imports.formats.archives import UnreadableMember, read_exactly
from worker.imports.formats.faults import check_count, check_labels, rejection, shown
from worker.imports.formats.opening import Opening
from worker.imports.formats.streams import ForwardStream
from worker.imports.source import SPLITS, Item, Limits, Split, UploadedFile

_LABELS, _IMAGES = 1, 3
_CLASSES = 10


@dataclass(frozen=True)
class _Part:
    """One split: where its images lie, their (count, height, width), and their labels."""

    file: UploadedFile
    shape: tuple[int, ...]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Idx:
    """Opened IDX files: labels are in memory, pixels are streamed."""

    labels: tuple[str, ...]
    splits: tuple[Split, ...]
    files_total: int
    parts: Mapping[Split, _Part]
    limits: Limits

    def items(self) -> Iterator[Item]:
        for split in self.splits:
            part = self.parts[split]
            count, height, width = part.shape
            with ForwardStream(part.file, self.limits) as stream:
                _read_shape(stream, part.file)
                for index in range(count):
                    row = np.frombuffer(_exactly(stream, height * width, part.file), np.uint8)
                    name = f"{shown(part.file.name)}[{index}]"
                    yield Item(split, int(part.labels[index]), name, row.reshape(height, width, 1))
                _check_end(stream, part.file)

    def close(self) -> None:
        """Nothing was spooled."""


def open_idx(opening: Opening) -> Idx:
    """Reads headers and labels. Raises Rejected."""
    files = _roles(opening)
    parts = {split: _part(files, split, opening) for split in SPLITS if any(key[0] == split for key in files)}
    place = opening.files[0].name
    if "train" not in parts:
        raise rejection(place, "no_train_split", "no file is named train…; keep the names of MNIST's four files")
    classes = max(_CLASSES, 1 + max(int(part.labels.max(initial=0)) for part in parts.values()))
    total = sum(part.shape[0] for part in parts.values())
    check_count(total, place, opening.limits)
    labels = check_labels([str(number) for number in range(classes)], place, opening.limits)
    return Idx(labels, tuple(parts), total, parts, opening.limits)


def _roles(opening: Opening) -> dict[tuple[Split, int], UploadedFile]:
    """Each file by its split and its number of dimensions."""
    roles: dict[tuple[Split, int], UploadedFile] = {}
    for file in opening.files:
        with ForwardStream(file, opening.limits, opening.meter) as stream:
            sides = len(_read_shape(stream, file))
        name = file.name.lower()
        split: Split = "test" if name.startswith(("t10k", "test")) else "train"
        if split == "train" and not name.startswith("train"):
            raise rejection(file.name, "unknown_split", "its name begins with neither train nor t10k or test")
        if sides not in (_LABELS, _IMAGES) or (split, sides) in roles:
            raise rejection(file.name, "unexpected_file", "one file of images and one of labels belong to a split")
        roles[split, sides] = file
    return roles


def _part(files: Mapping[tuple[Split, int], UploadedFile], split: Split, opening: Opening) -> _Part:
    images, labels = files.get((split, _IMAGES)), files.get((split, _LABELS))
    if images is None or labels is None:
        present, lacking = (labels, "images") if images is None else (images, "labels")
        name = "" if present is None else present.name
        raise rejection(name, "missing_file", f"the {lacking} that belong to it were not sent")
    with ForwardStream(images, opening.limits) as stream:
        shape = _read_shape(stream, images)
    _check_shape(shape, images, opening.limits)
    with ForwardStream(labels, opening.limits, opening.meter) as stream:
        (count,) = _read_shape(stream, labels)
        if count != shape[0]:
            raise rejection(labels.name, "length_mismatch", f"it holds {count} labels for {shape[0]} images")
        values = np.frombuffer(_exactly(stream, count, labels), np.uint8)
        _check_end(stream, labels)
    return _Part(images, shape, values)


def _check_shape(shape: Sequence[int], file: UploadedFile, limits: Limits) -> None:
    count, height, width = shape
    if not height * width or height * width > limits.image_pixels:
        raise rejection(file.name, "bad_shape", f"its images claim {height} x {width} pixels")
    if math.prod(shape) > limits.expanded_bytes:
        raise rejection(
            file.name, "too_large", f"it claims {math.prod(shape)} bytes; the limit is {limits.expanded_bytes}"
        )
    check_count(count, file.name, limits)


def _read_shape(stream: ForwardStream, file: UploadedFile) -> tuple[int, ...]:
    magic = _exactly(stream, 4, file)
    if magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= _IMAGES:
        raise rejection(file.name, "unknown_format", "it is not an IDX file of unsigned bytes")
    return struct.unpack(f">{magic[3]}I", _exactly(stream, 4 * magic[3], file))


def _exactly(stream: ForwardStream, size: int, file: UploadedFile) -> bytes:
    try:
        return read_exactly(stream, size, file.name)
    except UnreadableMember:
        raise stream.truncated() from None


def _check_end(stream: ForwardStream, file: UploadedFile) -> None:
    """Reading past the end also checks gzip's checksum."""
    if stream.read(1):
        raise rejection(file.name, "damaged_archive", "it holds more bytes than its header says")
