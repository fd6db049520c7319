"""How readers say what is wrong with an upload: collected where that is cheap, bounded always."""

from __future__ import annotations

import re
from collections.abc import Sequence

from worker.imports.source import MOST_ERRORS, FileError, Limits, Rejected

MOST_SHOWN = 200
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that reverse the direction of writing, and bytes that were not UTF-8."""


class Faults:
    """What is wrong so far: the first MOST_ERRORS are kept, the rest counted."""

    def __init__(self) -> None:
        self._kept: list[FileError] = []
        self._total = 0

    def add(self, file: str, code: str, detail: str) -> None:
        self._total += 1
        if len(self._kept) < MOST_ERRORS:
            self._kept.append(FileError(shown(file), code, detail))

    def check(self) -> None:
        """Raises Rejected when anything was found."""
        if self._kept:
            raise Rejected(self._kept, self._total)


def rejection(file: str, code: str, detail: str) -> Rejected:
    """For the one fault after which nothing more can be read."""
    return Rejected([FileError(shown(file), code, detail)])


def shown(name: str) -> str:
    """A name from a hostile file, made fit for a report: printable and short."""
    printable = UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", name)
    return printable if len(printable) <= MOST_SHOWN else printable[: MOST_SHOWN - 1] + "…"


def check_labels(labels: Sequence[str], place: str, limits: Limits) -> tuple[str, ...]:
    """The labels, when they can name classes: not empty, printable, each once, not too many. Raises Rejected."""
    if len(labels) > limits.classes:
        raise rejection(place, "too_many_classes", f"there are {len(labels)} classes; the limit is {limits.classes}")
    faults, seen = Faults(), set[str]()
    for label in labels:
        if not label.strip() or len(label) > MOST_SHOWN or UNPRINTABLE.search(label):
            detail = f"a class cannot be named {shown(label)!r}: use 1 to {MOST_SHOWN} printable characters"
            faults.add(place, "bad_label", detail)
        elif label in seen:
            faults.add(place, "duplicate_label", f"two classes are named {label!r}")
        seen.add(label)
    faults.check()
    return tuple(labels)


def check_count(images: int, place: str, limits: Limits) -> None:
    """Raises Rejected when a set has no image, or more than the limit."""
    if images == 0:
        raise rejection(place, "no_images", "no image was found in it")
    if images > limits.entries:
        raise rejection(place, "too_many_entries", f"it holds {images} images; the limit is {limits.entries}")
