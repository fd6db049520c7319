"""What a job sees of a dataset: which labels, which split, at which size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from core.datasets import DatasetInfo
from core.errors import Fault
from core.jobspec import DatasetSpec, JobSpec
from core.layers import Shape
from core.recipes import RECIPES
from core.recipes.recipe import LARGEST_SIDE
from core.splits import SplitCounts, SplitPlan, plan_counts

DEFAULT_VALIDATION_FRACTION = 0.15
DEFAULT_TEST_FRACTION = 0.15


def view_name(dataset: DatasetSpec) -> str:
    """What the view of a normalised spec is called without a name of the client's.

    The dataset's name for the whole set with the default split, else `<dataset>@<8 hex>`. Labels and split make a view;
    what only changes how a network learns (train_limit, image_size, color) does not, so that such models compete with
    each other on the same held-out images.
    """
    identity = dataset.model_dump(include={"classes", "validation_fraction", "test_fraction", "split", "seed"})
    whole = DatasetSpec(name=dataset.name).model_dump(include=set(identity))
    if dataset.validation_fraction is None:
        whole["validation_fraction"] = None
    if dataset.test_fraction is not None:
        whole["test_fraction"] = DEFAULT_TEST_FRACTION
    if dataset.validation_fraction is None and dataset.test_fraction is None:
        # Nothing is divided, so neither strategy nor seed means anything.
        whole |= {"split": identity["split"], "seed": identity["seed"]}
    if identity == whole:
        return dataset.name
    return f"{dataset.name}@{hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]}"


def split_plan(dataset: DatasetSpec) -> SplitPlan:
    """How a normalised dataset spec divides the images it draws from."""
    return SplitPlan(
        dataset.validation_fraction or 0.0,
        dataset.test_fraction or 0.0,
        dataset.split,
        dataset.seed,
        dataset.train_limit,
    )


def chosen_classes(dataset: DatasetSpec, info: DatasetInfo) -> tuple[int, ...]:
    """Indices into the dataset's labels, ascending."""
    if dataset.classes is None:
        return tuple(range(len(info.labels)))
    return tuple(info.labels.index(str(label)) for label in dataset.classes)


def chosen_labels(dataset: DatasetSpec, info: DatasetInfo, faults: list[Fault]) -> tuple[str, ...]:
    if dataset.classes is None:
        return info.labels
    chosen: set[int] = set()
    for position, entry in enumerate(dataset.classes):
        pointer = f"/dataset/classes/{position}"
        index = entry if isinstance(entry, int) else _label_index(info, entry)
        if index is None or index >= len(info.labels):
            faults.append(Fault(pointer, f"{info.name} has no class {entry!r}", "unknown_class"))
        elif index in chosen:
            faults.append(Fault(pointer, f"class {info.labels[index]!r} is named twice", "duplicate_class"))
        else:
            chosen.add(index)
    return tuple(info.labels[index] for index in sorted(chosen))


def normalised_dataset(spec: JobSpec, info: DatasetInfo, labels: tuple[str, ...], faults: list[Fault]) -> DatasetSpec:
    dataset = spec.dataset
    asked_validation = dataset.validation_fraction if "validation_fraction" in dataset.model_fields_set else None
    color = dataset.color or RECIPES[spec.architecture.name].color_of(spec.architecture) or info.color
    return dataset.model_copy(
        update={
            "classes": None if labels == info.labels else list(labels),
            "validation_fraction": _fraction(
                "validation", asked_validation, info.validation_counts, DEFAULT_VALIDATION_FRACTION, info, faults
            ),
            "test_fraction": _fraction(
                "test", dataset.test_fraction, info.test_counts, DEFAULT_TEST_FRACTION, info, faults
            ),
            "color": color,
            "image_size": dataset.image_size or _default_size(spec, info, color, len(labels)),
        }
    )


def input_shape_of(dataset: DatasetSpec) -> tuple[int, int, int]:
    size = dataset.image_size or 0
    return size, size, 3 if dataset.color == "rgb" else 1


def split_counts(dataset: DatasetSpec, info: DatasetInfo, labels: tuple[str, ...], faults: list[Fault]) -> SplitCounts:
    indices = [info.labels.index(label) for label in labels]
    counts = plan_counts([info.train_counts[index] for index in indices], split_plan(dataset))
    counts = SplitCounts(
        counts.train,
        _own_count(info.validation_counts, indices, counts.validation),
        _own_count(info.test_counts, indices, counts.test),
    )
    limited = dataset.train_limit is not None and dataset.train_limit < len(labels)
    for part, pointer, count in (
        ("training", "/dataset/train_limit" if limited else "/dataset/validation_fraction", counts.train),
        ("validation", "/dataset/validation_fraction", counts.validation),
        ("test", "/dataset/test_fraction", counts.test),
    ):
        if labels and count < len(labels):
            faults.append(
                Fault(
                    pointer,
                    f"leaves {count} {part} images for {len(labels)} classes; at least one each is needed",
                    "empty_split",
                )
            )
    return counts


def _label_index(info: DatasetInfo, label: str) -> int | None:
    return info.labels.index(label) if label in info.labels else None


def _fraction(
    part: str,
    asked: float | None,
    own_counts: tuple[int, ...] | None,
    default: float,
    info: DatasetInfo,
    faults: list[Fault],
) -> float | None:
    """The share to hold out; None where the set brings that split itself, and none may be asked for."""
    if own_counts is None:
        return default if asked is None else asked
    if asked is not None:
        faults.append(Fault(f"/dataset/{part}_fraction", f"{info.name} has its own {part} split"))
    return None


def _default_size(spec: JobSpec, info: DatasetInfo, color: str, classes: int) -> int:
    """The architecture's own option, else the dataset's size where the recipe takes it, else the recipe's."""
    recipe = RECIPES[spec.architecture.name]
    if spec.architecture.input_size is not None:
        return spec.architecture.input_size
    if info.size is None:
        return recipe.default_size
    height, width = info.size
    own: Shape = (height, width, 3 if color == "rgb" else 1)
    fits = height == width <= LARGEST_SIDE and recipe.takes(spec.architecture, own, classes)
    return height if fits else recipe.default_size


def _own_count(own: tuple[int, ...] | None, indices: Sequence[int], planned: int) -> int:
    return planned if own is None else sum(own[index] for index in indices)
