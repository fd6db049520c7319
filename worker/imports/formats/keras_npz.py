"""npz in Keras layout: x_train and y_train, with x_test/y_test and x_validation/y_validation (or x_val/y_val) if there.

Pixels are uint8, (n, height, width) or (n, height, width, 1 or 3); labels whole numbers 0..n-1 or text. An array
`labels` or `class_names` names the classes. Rows are streamed from the archive; other arrays are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from worker.imports.formats.archives import Archive
from worker.imports.formats.faults import Faults, check_count, rejection
from worker.imports.formats.npy import Array, open_array
from worker.imports.formats.npz_labels import Codes, read_labels
from worker.imports.formats.opening import Opening
from worker.imports.source import SPLITS, Item, Limits, Split

_SUFFIXES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "val"),
    "test": ("test",),
}
_NAMES = ("class_names", "labels")


def is_keras_npz(archive: Archive) -> bool:
    """Whether arrays lie in the archive's root, as numpy.savez puts them."""
    return any(member.name.endswith(".npy") and "/" not in member.name for member in archive.members)


@dataclass(frozen=True)
class KerasNpz:
    """An opened npz: labels are in memory, pixels are not."""

    labels: tuple[str, ...]
    splits: tuple[Split, ...]
    files_total: int
    archive: Archive
    pixels: Mapping[Split, Array]
    codes: Mapping[Split, Codes]

    def items(self) -> Iterator[Item]:
        for split in self.splits:
            yield from self._items(split)

    def close(self) -> None:
        self.archive.close()

    def _items(self, split: Split) -> Iterator[Item]:
        array, codes, index = self.pixels[split], self.codes[split], 0
        for rows in array.rows():
            images = rows[..., np.newaxis] if rows.ndim == 3 else rows
            for image in images:
                yield Item(split, int(codes[index]), f"{array.name}[{index}]", image)
                index += 1


def open_keras_npz(archive: Archive, opening: Opening) -> KerasNpz:
    """Checks the headers and reads the labels. Raises Rejected."""
    members = {member.name.removesuffix(".npy"): member for member in archive.members if member.name.endswith(".npy")}
    pairs = _pairs(set(members), archive.name)
    pixels = {split: open_array(archive, members[x]) for split, (x, _) in pairs.items()}
    arrays = {split: open_array(archive, members[y]) for split, (_, y) in pairs.items()}
    _check(pixels, arrays, archive.name, opening.limits)
    names = [open_array(archive, members[name]) for name in _NAMES if name in members]
    labels, codes = read_labels(arrays, names[0] if names else None, opening.limits)
    opening.meter.report()
    splits = tuple(split for split in SPLITS if split in pixels)
    return KerasNpz(labels, splits, sum(len(part) for part in codes.values()), archive, pixels, codes)


def _pairs(present: set[str], place: str) -> dict[Split, tuple[str, str]]:
    """Each split's names of pixels and labels."""
    faults, pairs = Faults(), dict[Split, tuple[str, str]]()
    for split, suffixes in _SUFFIXES.items():
        used = [suffix for suffix in suffixes if {f"x_{suffix}", f"y_{suffix}"} & present]
        if len(used) > 1:
            faults.add(place, "ambiguous_split", f"it holds both x_{used[0]} and x_{used[1]}; keep one")
        for suffix in used or (["train"] if split == "train" else []):
            for name in {f"x_{suffix}", f"y_{suffix}"} - present:
                faults.add(name, "missing_array", f"the archive lacks {name}; save x_train, y_train, x_test, y_test")
            pairs[split] = (f"x_{suffix}", f"y_{suffix}")
    faults.check()
    return pairs


def _check(pixels: Mapping[Split, Array], labels: Mapping[Split, Array], place: str, limits: Limits) -> None:
    faults = Faults()
    for split, array in pixels.items():
        count = labels[split].shape[0]
        if array.shape[0] != count:
            detail = f"it holds {array.shape[0]} images, and {labels[split].name} {count} labels"
            faults.add(array.name, "length_mismatch", detail)
        if (fault := _pixel_fault(array, limits)) is not None:
            faults.add(array.name, *fault)
    faults.check()
    check_count(sum(array.shape[0] for array in pixels.values()), place, limits)
    total = sum(array.member.size for array in pixels.values())
    if total > limits.expanded_bytes:
        raise rejection(place, "too_large", f"its arrays hold {total} bytes; the limit is {limits.expanded_bytes}")


def _pixel_fault(array: Array, limits: Limits) -> tuple[str, str] | None:
    if array.dtype != np.uint8:
        remedy = "multiply by 255 first if they go from 0 to 1, then save pixels.astype('uint8')"
        return "bad_pixels", f"its pixels are {array.dtype}, not uint8 from 0 to 255; {remedy}"
    sides = array.row_shape
    if len(sides) not in (2, 3) or (len(sides) == 3 and sides[2] not in (1, 3)):
        return "bad_pixels", f"its shape is {array.shape}; pixels are (n, height, width) or (n, height, width, 1 or 3)"
    if sides[0] * sides[1] > limits.image_pixels:
        return "too_many_pixels", f"its images have {sides[0]} x {sides[1]} pixels; the limit is {limits.image_pixels}"
    return None
