"""The data gate: what keeps an upload from becoming a dataset, and what its users should know.

Refused, as nothing could be trained on it: no images at all (`no_images`), fewer than two classes with images
(`too_few_classes`), a class that has images to test or validate but none to train (`empty_class`).

Accepted with a warning, as only its owner can tell whether it is meant:

| code | when |
| --- | --- |
| class_imbalance | the largest training class has more than IMBALANCE times the images of the smallest |
| empty_class | a class that the set names has no image at all |
| tiny_class | a class has fewer than TINY training images |
| mixed_sizes | the images differ in height or width |
| mixed_color | some images are grayscale, some are not |
| duplicates_across_splits | an image is in several splits, exactly or nearly: a test would ask what was taught |
| duplicates | an image is repeated within one split; near-duplicates are looked for in sets of one split only |
| label_conflicts | repeats of one image have different labels |
| skipped_images | corrupt images were left out, as the client asked |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from core.dataset_content import DatasetContent
from worker.imports.duplicates import Duplicates, Pair, Repeats
from worker.imports.source import FileError, Rejected

IMBALANCE = 10
TINY = 10
LEAST_CLASSES = 2
TOO_FEW = "a classifier needs training images of at least two classes, one folder or label for each"
MOST_NAMED = 5

Judgement = list[dict[str, str]]
"""Warnings: {"code", "detail"}."""


class _Warning(NamedTuple):
    code: str
    detail: str


def judge(content: DatasetContent, duplicates: Duplicates, skipped: int) -> Judgement:
    """The warnings. Raises Rejected with every reason for a refusal. `skipped` images are not in `content`."""
    errors = list(_errors(content, skipped))
    if errors:
        raise Rejected(errors)
    found = [*_class_warnings(content), *_image_warnings(content, skipped), *_duplicate_warnings(content, duplicates)]
    return [warning._asdict() for warning in found]


def _errors(content: DatasetContent, skipped: int) -> Iterator[FileError]:
    left_out = f"; {_images(skipped)} could not be read" if skipped else ""
    if not any(split.images for split in content.splits.values()):
        yield FileError("all files", "no_images", f"the upload holds no images{left_out}")
        return
    if sum(images > 0 for images in content.splits["train"].class_counts) < LEAST_CLASSES:
        yield FileError("all files", "too_few_classes", TOO_FEW)
        return
    for label, images, held_out in zip(
        content.labels, content.splits["train"].class_counts, _held_out(content), strict=True
    ):
        if not images and held_out:
            yield FileError(label, "empty_class", f"the class {label!r} has no training images{left_out}")


def _held_out(content: DatasetContent) -> list[int]:
    """Images of each class outside the training split."""
    others = [split.class_counts for name, split in content.splits.items() if name != "train"]
    return [sum(counts) for counts in zip(*others, strict=True)] if others else [0] * len(content.labels)


def _class_warnings(content: DatasetContent) -> Iterator[_Warning]:
    counts = list(zip(content.splits["train"].class_counts, content.labels, strict=True))
    empty = [repr(label) for images, label in counts if not images]
    if empty:
        yield _Warning(
            "empty_class",
            f"{_named(empty)} {'has' if len(empty) == 1 else 'have'} no images. Choose the others with `classes` in the job"
            " spec, or a network gets outputs that it can never learn.",
        )
    classes = sorted((images, label) for images, label in counts if images)
    (fewest, smallest), (most, largest) = classes[0], classes[-1]
    if most > IMBALANCE * fewest:
        yield _Warning(
            "class_imbalance",
            f"The class {largest!r} has {_images(most)} for training, {smallest!r} only {fewest:,}. Add images to the small"
            ' classes, or train with class_weights "balanced" and look at each class\'s recall, not only at accuracy.',
        )
    tiny = [f"{label!r} ({images})" for images, label in classes if images < TINY]
    if tiny:
        yield _Warning(
            "tiny_class",
            f"{_named(tiny)} {'has' if len(tiny) == 1 else 'have'} fewer than {TINY} training images: too few to learn from"
            " or to measure by. Add images, or leave such classes out with `classes` in the job spec.",
        )


def _image_warnings(content: DatasetContent, skipped: int) -> Iterator[_Warning]:
    sizes = content.sizes
    if not sizes.uniform:
        small, large = (f"{height} x {width}" for height, width in (sizes.smallest, sizes.largest))
        yield _Warning(
            "mixed_sizes",
            f"The images differ in size, from {small} to {large} pixels (height x width). Each is squeezed to the job's"
            " image_size, whatever its proportions; crop them yourself where proportions matter.",
        )
    if content.mixed_color:
        yield _Warning(
            "mixed_color",
            "Some images are grayscale and some are in colour. If that goes with the class, a network learns it instead of"
            ' the content: train with color "grayscale", or replace the images.',
        )
    if skipped:
        kept = sum(split.images for split in content.splits.values())
        yield _Warning(
            "skipped_images",
            f"{_images(skipped)} of {kept + skipped:,} could not be read and {_were(skipped)} left out. The report names the"
            " files; repair them and import again under a new name.",
        )


def _duplicate_warnings(content: DatasetContent, duplicates: Duplicates) -> Iterator[_Warning]:
    exact, near = duplicates.exact, duplicates.near
    across = exact.across_splits, near.across_splits
    within = exact.total - across[0], near.total - across[1]
    if any(across):
        yield _Warning(
            "duplicates_across_splits",
            f"{_repeats(*across)} an image of an earlier split{_example(duplicates, across=True)}. What a network has seen"
            " in training says nothing about new images: remove them from one of the splits.",
        )
    if any(within):
        danger = (
            "A job divides this set by chance, so copies may end up on both sides of its split: keep one of each."
            if len(content.splits) == 1
            else "Copies count twice in training and in tests: keep one of each."
        )
        yield _Warning(
            "duplicates",
            f"{_repeats(*within)} another image of the same split{_example(duplicates, across=False)}. {danger}",
        )
    yield from _conflict_warnings(content, exact, near)


def _conflict_warnings(content: DatasetContent, exact: Repeats, near: Repeats) -> Iterator[_Warning]:
    conflicts = exact.label_conflicts + near.label_conflicts
    if conflicts:
        pair = next(pair for pair in (*exact.examples, *near.examples) if pair.conflicting)
        first, second = (content.labels[place.label] for place in (pair.first, pair.second))
        yield _Warning(
            "label_conflicts",
            f"{_images(conflicts)} {'repeats' if conflicts == 1 else 'repeat'} an image of another class: {_places(pair)} are"
            f" {first!r} and {second!r}. One of the labels is wrong, or the classes overlap: correct or remove them.",
        )


def _example(duplicates: Duplicates, *, across: bool) -> str:
    pairs = (pair for repeats in (duplicates.exact, duplicates.near) for pair in repeats.examples)
    pair = next((pair for pair in pairs if pair.across == across), None)
    return f", such as {_places(pair)}" if pair else ""


def _places(pair: Pair) -> str:
    return f"{pair.first.split}[{pair.first.index}] and {pair.second.split}[{pair.second.index}]"


def _repeats(exact: int, near: int) -> str:
    """`3 images repeat exactly and 1 image repeats nearly`."""
    counted = [(exact, "exactly"), (near, "nearly")]
    return " and ".join(
        f"{_images(images)} {'repeats' if images == 1 else 'repeat'} {how}" for images, how in counted if images
    )


def _named(items: list[str]) -> str:
    more = len(items) - MOST_NAMED
    return ", ".join(items[:MOST_NAMED]) + (f" and {more:,} more classes" if more > 0 else "")


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
