"""One folder per class, as photographers keep pictures; optionally train, validation and test above, and one wrapper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from core.images import excessive_claim, is_picture
from worker.imports.formats.archives import UNREADABLE, Archive, Member, UnreadableMember
from worker.imports.formats.contents import is_archive
from worker.imports.formats.faults import Faults, check_count, check_labels
from worker.imports.formats.layouts import arrange
from worker.imports.formats.opening import Opening
from worker.imports.formats.paths import base_name
from worker.imports.source import SPLITS, Item, Split

_TEXT_SUFFIXES = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".rst", ".xml", ".html", ".yaml", ".yml", ".pdf"}
)
_TEXT_NAMES = frozenset({"readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation"})


@dataclass(frozen=True)
class ImageFolders:
    """An opened set of pictures: a member, a class and a split for each, in the dataset's order."""

    labels: tuple[str, ...]
    splits: tuple[Split, ...]
    archive: Archive
    members: Sequence[Member]
    classes: NDArray[np.int32]
    parts: NDArray[np.int8]

    @property
    def files_total(self) -> int:
        return len(self.members)

    def items(self) -> Iterator[Item]:
        """A member whose bytes cannot be read has UNREADABLE as its content."""
        for index, member in enumerate(self.members):
            split, label = SPLITS[self.parts[index]], int(self.classes[index])
            yield Item(split, label, member.name, self._content(member))

    def close(self) -> None:
        self.archive.close()

    def _content(self, member: Member) -> bytes:
        try:
            return self.archive.read(member)
        except UnreadableMember:
            return UNREADABLE


def open_folders(archive: Archive, opening: Opening) -> ImageFolders:
    """Looks at every member's first bytes and at the folders. Raises Rejected."""
    faults = Faults()
    pictures = [member for member in archive.members if _is_wanted(archive, member, opening, faults)]
    faults.check()
    check_count(len(pictures), archive.name, opening.limits)
    layout = arrange(pictures, archive.name)
    labels = check_labels(layout.labels, archive.name, opening.limits)
    return ImageFolders(labels, layout.splits, archive, layout.members, layout.classes, layout.parts)


def _is_wanted(archive: Archive, member: Member, opening: Opening, faults: Faults) -> bool:
    """Whether a member is to be imported; one that must not be there is added to `faults`."""
    opening.meter.advance(archive.cost(member))
    skipping = opening.options.on_corrupt == "skip"
    if member.size == 0 and not skipping and not is_text(member.name):  # without opening it: there may be a million
        faults.add(member.name, "not_an_image", "it is empty")
        return False
    try:
        head = archive.head(member)
    except UnreadableMember as error:
        if not skipping:
            faults.add(member.name, "corrupt_member", f"its bytes are damaged: {error.detail}")
        return skipping
    if is_picture(head):
        claim = None if skipping else excessive_claim(head, max_pixels=opening.limits.image_pixels)
        if claim is not None:
            faults.add(member.name, "too_many_pixels", claim)
        return claim is None
    if is_archive(head):
        faults.add(member.name, "nested_archive", "it is an archive inside the archive; unpack it first")
        return False
    if is_text(member.name):
        return False
    if not skipping:
        what = "it is not a PNG, JPEG or WebP image" if head else "it is empty"
        faults.add(member.name, "not_an_image", what)
    return skipping


def is_text(name: str) -> bool:
    """Whether a file of that name tells something about pictures, and is none."""
    path = PurePosixPath(base_name(name).lower())
    return path.suffix in _TEXT_SUFFIXES or path.stem in _TEXT_NAMES
