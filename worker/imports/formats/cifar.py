"""CIFAR-10 and CIFAR-100 in their original forms, python and binary, from a tar or zip archive.

Batches may hold any number of images; images keep the order of the files: data_batch_1, data_batch_2, …, test_batch.
Names of the classes come from the archive. A class may have no image: parts of CIFAR keep the numbers of the whole.

Source of the forms: Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and its web page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.imports.formats.archives import Archive, Member, by_base_name
from worker.imports.formats.cifar_batches import BinaryBatches, PythonBatches
from worker.imports.formats.faults import Faults, check_count, check_labels, rejection
from worker.imports.formats.opening import Opening
from worker.imports.formats.paths import base_name
from worker.imports.source import SPLITS, Item, Pixels, Split

Labels = NDArray[np.int64]
_SIDE = 32
_PLANES = 3
_BATCH = re.compile(r"data_batch_(\d{1,6})(\.bin)?")


class _Batches(Protocol):
    def labels(self, member: Member) -> Labels: ...

    def rows(self, member: Member) -> Iterator[NDArray[np.uint8]]: ...

    def names(self, member: Member) -> list[str]: ...


@dataclass(frozen=True)
class _Form:
    """Which files one of the four forms has."""

    train: Sequence[str]
    test: str
    names: str
    batches: _Batches


@dataclass(frozen=True)
class Cifar:
    """An opened archive: labels are in memory, pixels are read batch by batch."""

    labels: tuple[str, ...]
    splits: tuple[Split, ...]
    archive: Archive
    batches: _Batches
    parts: Mapping[Split, Sequence[tuple[Member, Labels]]]

    @property
    def files_total(self) -> int:
        return sum(len(labels) for parts in self.parts.values() for _, labels in parts)

    def items(self) -> Iterator[Item]:
        for split in self.splits:
            for member, labels in self.parts[split]:
                rows = self.batches.rows(member)
                for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
                    yield Item(split, int(label), f"{member.name}[{index}]", _pixels(row))

    def close(self) -> None:
        self.archive.close()


def is_cifar(archive: Archive) -> bool:
    """Whether the archive's file names are those of one of the four forms."""
    names = {base_name(member.name) for member in archive.members if member.name.count("/") <= 2}
    numbered = any(_BATCH.fullmatch(name) for name in names)
    return numbered or {"train", "meta"} <= names or {"train.bin", "fine_label_names.txt"} <= names


def open_cifar(archive: Archive, opening: Opening) -> Cifar:
    """Reads names and labels. Raises Rejected, `unsafe_pickle` when a batch wants anything but data."""
    members = by_base_name(archive)
    form = _form(archive, set(members), opening)
    faults = Faults()
    for name in (*form.train, form.names):
        if name not in members:
            faults.add(name, "missing_file", f"the archive lacks {name}; send CIFAR's own archive as it is")
    faults.check()
    labels = check_labels(form.batches.names(members[form.names]), form.names, opening.limits)
    parts: dict[Split, list[tuple[Member, Labels]]] = {}
    files_of: dict[Split, Sequence[str]] = {"train": form.train, "test": [form.test]}
    for split, files in files_of.items():
        found = [_labelled(form.batches, members[file], labels, opening) for file in files if file in members]
        if any(len(codes) for _, codes in found):
            parts[split] = found
    source = Cifar(labels, tuple(split for split in SPLITS if split in parts), archive, form.batches, parts)
    check_count(source.files_total, archive.name, opening.limits)
    if "train" not in parts:
        raise rejection(archive.name, "no_train_split", "its training batches hold no image")
    return source


def _form(archive: Archive, names: set[str], opening: Opening) -> _Form:
    level = opening.options.cifar_labels
    numbered = sorted((int(found[1]), found[0]) for name in names if (found := _BATCH.fullmatch(name)))
    binary = [name for _, name in numbered if name.endswith(".bin")]
    python = [name for _, name in numbered if not name.endswith(".bin")]
    if python:
        return _Form(python, "test_batch", "batches.meta", PythonBatches(archive, "labels", "label_names"))
    if binary:
        return _Form(binary, "test_batch.bin", "batches.meta.txt", BinaryBatches(archive, labels=1, column=0))
    if "meta" in names:
        return _Form(["train"], "test", "meta", PythonBatches(archive, f"{level}_labels", f"{level}_label_names"))
    column = {"coarse": 0, "fine": 1}[level]
    return _Form(["train.bin"], "test.bin", f"{level}_label_names.txt", BinaryBatches(archive, labels=2, column=column))


def _labelled(batches: _Batches, member: Member, labels: Sequence[str], opening: Opening) -> tuple[Member, Labels]:
    codes = batches.labels(member)
    opening.meter.advance(member.size)
    opening.meter.report()
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(labels):
        detail = f"its labels go from {codes.min()} to {codes.max()}, and {len(labels)} classes have names"
        raise rejection(member.name, "bad_labels", detail)
    return member, codes


def _pixels(row: NDArray[np.uint8]) -> Pixels:
    """From 3,072 bytes, one colour plane after the other, to (32, 32, 3)."""
    return np.ascontiguousarray(row.reshape(_PLANES, _SIDE, _SIDE).transpose(1, 2, 0))
