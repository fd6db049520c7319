"""From paths of pictures to classes and splits.

`[wrapper/][split/]class/…/picture`. Folders are splits when every one of them has a split's name; so a set of vehicles
may have a class `train` beside `bus`. Order: split, class by name, then path, compared folder by folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.imports.formats.archives import Member
from worker.imports.formats.faults import Faults, rejection
from worker.imports.source import SPLITS, Split

SPLIT_FOLDERS: Mapping[str, Split] = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Layout:
    labels: tuple[str, ...]
    splits: tuple[Split, ...]
    members: Sequence[Member]
    classes: NDArray[np.int32]
    """index into labels, one a member"""
    parts: NDArray[np.int8]
    """index into SPLITS, one a member"""


def arrange(members: Sequence[Member], place: str) -> Layout:
    """Raises Rejected when the folders do not say what is meant."""
    skip = _wrapper_length(members)
    tops = {_top(member.name[skip:]) for member in members}
    split_of = _split_folders(members, skip, tops, place)
    _check_depth(members, skip, folders=1 if split_of is None else 2)
    ordered = sorted(members, key=lambda member: _key(member.name[skip:], split_of))
    places = [_place(member.name[skip:], split_of) for member in ordered]
    _check_classes(set(places), place)
    labels = tuple(sorted({label for _, label in places}))
    position = {label: index for index, label in enumerate(labels)}
    classes = np.fromiter((position[label] for _, label in places), np.int32, len(places))
    parts = np.fromiter((SPLITS.index(split) for split, _ in places), np.int8, len(places))
    splits = tuple(split for index, split in enumerate(SPLITS) if (parts == index).any())
    return Layout(labels, splits, ordered, classes, parts)


def _top(path: str) -> str:
    return path.split("/", 1)[0] if "/" in path else ""


def _wrapper_length(members: Sequence[Member]) -> int:
    """Characters of the one folder around everything, 0 where there is none."""
    tops = {_top(member.name) for member in members}
    if len(tops) != 1 or "" in tops:
        return 0
    (top,) = tops
    if top.lower() in SPLIT_FOLDERS or not any(member.name.count("/") > 1 for member in members):
        return 0
    return len(top) + 1


def _split_folders(members: Sequence[Member], skip: int, tops: set[str], place: str) -> dict[str, Split] | None:
    """Which split each top folder is; None where top folders are classes."""
    named = {top: SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in SPLIT_FOLDERS}
    if not named:
        return None
    if set(named) == tops - {""}:
        _check_splits(named, place)
        return named
    deep = next((m for m in members if _top(m.name[skip:]) in named and m.name.count("/", skip) > 1), None)
    if deep is not None:
        others = ", ".join(sorted(tops - set(named) - {""})[:3])
        detail = f"folders of classes stand beside split folders ({others}); put every class below train/"
        raise rejection(deep.name, "mixed_layout", detail)
    return None


def _check_splits(named: Mapping[str, Split], place: str) -> None:
    faults = Faults()
    for split in SPLITS:
        folders = sorted(folder for folder, meant in named.items() if meant == split)
        if len(folders) > 1:
            faults.add(place, "ambiguous_split", f"{' and '.join(folders)} are the same split; keep one folder")
    if "train" not in named.values():
        faults.add(place, "no_train_split", f"it has {', '.join(sorted(named))} but no folder train")
    faults.check()


def _check_depth(members: Sequence[Member], skip: int, folders: int) -> None:
    faults = Faults()
    for member in members:
        if member.name.count("/", skip) < folders:
            faults.add(member.name, "no_class_folder", "it lies in no class folder, so its class is unknown")
    faults.check()


def _place(path: str, split_of: Mapping[str, Split] | None) -> tuple[Split, str]:
    if split_of is None:
        return "train", _top(path)
    top, rest = path.split("/", 1)
    return split_of[top], _top(rest)


def _key(path: str, split_of: Mapping[str, Split] | None) -> tuple[int, str]:
    """/ sorts before every character of a name, so that folders stay together."""
    folded = path.replace("/", "\0")
    return (0 if split_of is None else SPLITS.index(split_of[_top(path)])), folded


def _check_classes(present: set[tuple[Split, str]], place: str) -> None:
    faults = Faults()
    for split, label in sorted(present):
        if split != "train" and ("train", label) not in present:
            detail = f"the class {label!r} has images in {split} but none in train; no network could learn it"
            faults.add(f"{split}/{label}", "class_not_in_train", detail)
    faults.check()
