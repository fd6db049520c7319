"""Images that a dataset holds twice: exactly, or re-encoded, resized or shifted by a pixel.

Where a set brings several splits, near-duplicates are looked for across them; in a set that is one pool, among all its
images, as a job's split will divide it. Candidates come from hashes (candidates.py), and each is looked at again
(second_look.py). An image that others repeat exactly stands for them all. Flat pictures have exact duplicates only.

Not found: mirrored, rotated or cropped copies, and changes of brightness beyond an encoder's.

Measured (benchmarks/bench_duplicates.py): of 20 copies planted in each of six sets (digits at 8x8 and 32x32, noise at
32x32 and 64x64, drawings at 200x150, MNIST) all were found. Mistakes: of MNIST's 10,000 test images 60 (0.6 %) are said
to repeat a training image; all are plain strokes, the digit one, which other hands drew within a fraction of a pixel
alike. Of the 1,797 digits of 8x8 pixels 9 (0.5 %) are, eight of them ones. No label conflict among either. MNIST takes
32 s of one core and 120 MB; 925,187 candidates were looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worker.imports.candidates import EXHAUSTIVE, EXHAUSTIVE_SECONDS, LOOKUP_SECONDS, MOST_LOOKUPS, Rows
from worker.imports.fingerprints import Fingerprints, repeats
from worker.imports.near_duplicates import READ_SECONDS, Found, distinct, hash_comparisons, search
from worker.imports.perceptual import VIEWS
from worker.imports.source import Pixels, Split
from worker.imports.ticks import Tell, parts

Search = Literal["exhaustive", "banded", "exact"]
Read = Callable[[Split, int], Pixels]

MOST_EXAMPLES = 100
MOST_LOOKS = 1_000_000
"""candidates that are looked at again, shared evenly among the images."""
LOOKS_AN_IMAGE = (16, 128)
"""least (until MOST_LOOKS are used up) and most."""


@dataclass(frozen=True)
class Place:
    """Where an image is."""

    split: Split
    index: int
    label: int

    def to_json(self) -> dict[str, Any]:
        return {"split": self.split, "index": self.index, "label": self.label}


@dataclass(frozen=True)
class Pair:
    """An image and an earlier one that it repeats, splits in the order of SPLITS."""

    first: Place
    second: Place

    @property
    def across(self) -> bool:
        return self.first.split != self.second.split

    @property
    def conflicting(self) -> bool:
        return self.first.label != self.second.label

    def to_json(self) -> dict[str, Any]:
        return {"first": self.first.to_json(), "second": self.second.to_json()}


@dataclass(frozen=True)
class Repeats:
    """Images (not pairs) that repeat an earlier one; each is counted once, with one image that it repeats."""

    total: int = 0
    across_splits: int = 0
    label_conflicts: int = 0
    examples: tuple[Pair, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "across_splits": self.across_splits,
            "label_conflicts": self.label_conflicts,
            "examples": [pair.to_json() for pair in self.examples],
        }


@dataclass(frozen=True)
class Duplicates:
    """What a dataset repeats. `note` says what a limit left unseen."""

    exact: Repeats
    near: Repeats
    search: Search = "exhaustive"
    looked_at: int = 0
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "exact": self.exact.to_json(),
            "near": self.near.to_json(),
            "search": self.search,
            "looked_at": self.looked_at,
            "note": self.note,
        }


def exact_duplicates(fingerprints: Fingerprints) -> Duplicates:
    """Equal images alone: for sets whose near-duplicates are known."""
    return Duplicates(exact=_exact(fingerprints, _Places(fingerprints)), near=Repeats(), search="exact")


def find_duplicates(
    fingerprints: Fingerprints, read: Read, on_progress: Tell = lambda _: None, *, exhaustive: int = EXHAUSTIVE
) -> Duplicates:
    """`read` gives the pixels of an image that was added; small images are read about twice, others when in doubt.

    `on_progress` takes the share that is done, often: never less than before, and 1 at the end.
    Memory: about 120 MB, and 90 bytes an image, whatever the images' sizes.
    Beyond `exhaustive` comparisons of hashes the search is "banded" (candidates.py).
    """
    places = _Places(fingerprints)
    near = _near(fingerprints, read, places, exhaustive, on_progress)
    found = replace(near, exact=_exact(fingerprints, places))
    on_progress(1.0)
    return found


class _Places:
    """Images of all splits under one number each: the splits one after the other."""

    def __init__(self, fingerprints: Fingerprints) -> None:
        self._fingerprints = fingerprints
        self._splits = fingerprints.splits()
        self._starts = np.cumsum([0, *(fingerprints.count(split) for split in self._splits)])

    def start(self, split: Split) -> int:
        return int(self._starts[self._splits.index(split)])

    def repeats(self, later: Rows, earlier: Rows, agreement: NDArray[np.float32]) -> Repeats:
        """One entry an image that repeats another. Examples: conflicts first, then across splits, then by agreement."""
        labels = _all(self._fingerprints, "label", np.zeros(0, "<i4"))
        across = self._split(later) != self._split(earlier)
        conflicting = labels[later] != labels[earlier]
        telling = np.lexsort((later, -agreement, ~across, ~conflicting))[:MOST_EXAMPLES]
        pairs = (
            Pair(self._place(first, labels), self._place(second, labels))
            for first, second in zip(earlier[telling], later[telling], strict=True)
        )
        return Repeats(len(later), int(across.sum()), int(conflicting.sum()), tuple(pairs))

    def _split(self, positions: Rows) -> Rows:
        return np.searchsorted(self._starts, positions, side="right") - 1

    def _place(self, position: int, labels: NDArray[np.int32]) -> Place:
        split = int(self._split(np.array([position]))[0])
        return Place(self._splits[split], int(position - self._starts[split]), int(labels[position]))


def _all(fingerprints: Fingerprints, field: str, none: NDArray[Any]) -> NDArray[Any]:
    """A field of the records of all splits."""
    return np.concatenate([none, *(fingerprints.records(split, field)[field] for split in fingerprints.splits())])


def _exact(fingerprints: Fingerprints, places: _Places) -> Repeats:
    later, first = repeats(_all(fingerprints, "digest", np.zeros((0, 2), "<u8")))
    return places.repeats(later, first, np.ones(len(later), np.float32))


def _near(fingerprints: Fingerprints, read: Read, places: _Places, exhaustive: int, on_progress: Tell) -> Duplicates:
    splits = fingerprints.splits()
    pairs: list[tuple[Split | None, Split]] = list(combinations(splits, 2)) or [(None, split) for split in splits]
    reading, searching = parts(on_progress, _seconds([fingerprints.count(split) for split in splits], exhaustive))
    tells = parts(reading, [fingerprints.count(split) for split in splits])
    sets = {
        split: distinct(partial(fingerprints.records, split), partial(read, split), tell)
        for split, tell in zip(splits, tells, strict=True)
    }
    costs = [hash_comparisons(sets[later], sets[earlier] if earlier else None) for earlier, later in pairs]
    share = MOST_LOOKS // max(1, sum(len(sets[later]) for _, later in pairs))
    looks = min(max(share, LOOKS_AN_IMAGE[0]), LOOKS_AN_IMAGE[1])
    banded = sum(costs) > exhaustive
    closest = _Closest()
    searched: list[Found] = []
    for (earlier, later), tell in zip(pairs, parts(searching, costs), strict=True):
        others = sets[earlier] if earlier else None
        found = search(sets[later], others, tell, per_image=looks, most=MOST_LOOKS, banded=banded)
        closest.add(found.later + places.start(later), found.earlier + places.start(earlier or later), found.agreement)
        searched.append(replace(found, later=found.later[:0], earlier=found.earlier[:0], agreement=found.agreement[:0]))
    return Duplicates(
        exact=Repeats(),
        near=places.repeats(*closest.pairs()),
        search="banded" if banded else "exhaustive",
        looked_at=sum(found.looked_at for found in searched),
        note=_note(searched, looks),
    )


def _seconds(counts: Sequence[int], exhaustive: int) -> tuple[float, float]:
    """What reading and searching will take at most, about."""
    images = sum(counts)
    comparisons = images * images // 2 * VIEWS
    searching = MOST_LOOKUPS * LOOKUP_SECONDS if comparisons > exhaustive else comparisons * EXHAUSTIVE_SECONDS
    return READ_SECONDS * images, searching + READ_SECONDS * images


class _Closest:
    """Of copies that were found, the best one for each image."""

    def __init__(self) -> None:
        self._later = self._earlier = np.zeros(0, np.int64)
        self._agreement = np.zeros(0, np.float32)

    def add(self, later: Rows, earlier: Rows, agreement: NDArray[np.float32]) -> None:
        later, earlier = np.append(self._later, later), np.append(self._earlier, earlier)
        agreement = np.append(self._agreement, agreement)
        order = np.lexsort((agreement, later))
        last = np.ones(len(order), bool)
        last[:-1] = later[order[1:]] != later[order[:-1]]
        best = order[last]
        self._later, self._earlier, self._agreement = later[best], earlier[best], agreement[best]

    def pairs(self) -> tuple[Rows, Rows, NDArray[np.float32]]:
        """(later, earlier, agreement), in the order of the later ones."""
        return self._later, self._earlier, self._agreement


def _note(searched: list[Found], looks: int) -> str | None:
    said = []
    if any(found.unseen for found in searched):
        said.append(
            f"Only the {looks} most alike candidates of each image, and {MOST_LOOKS} in all, were looked at;"
            " others, which are less alike, were not."
        )
    if not all(found.finished for found in searched):
        said.append("The search for candidates reached its limit: near-duplicates may be missing.")
    return " ".join(said) or None
