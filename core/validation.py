"""From a request body to a checked, normalised job spec, or to every fault found in it.

No dataset is opened and no worker asked: counts come from what the dataset's row tells, shapes and parameters from the
recipe's layer specs. The same check guards submitting and `?validate_only=true`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from core.datasets import BUILTIN_DATASETS, DatasetInfo
from core.errors import Fault, InvalidJobSpec
from core.faults import pointer_in, steps_of, validation_faults
from core.jobspec import DatasetSpec, JobSpec
from core.layers import LayerSpec, NetworkSummary, Shape, ShapeError
from core.recipes import RECIPES, network_layers, network_summary
from core.splits import SplitCounts, SplitPlan, plan_counts

DEFAULT_VALIDATION_FRACTION = 0.15
DEFAULT_TEST_FRACTION = 0.15

Lookup = Callable[[str], "DatasetInfo | Fault"]
"""What is known of a dataset by name, or the fault that it cannot be used (its pointer is filled in here)."""

NOT_IN_HASH = ("tags", "priority", "timeout_seconds", "max_attempts")
"""Fields that change how a job is run, not what it computes."""


@dataclass(frozen=True)
class CheckedSpec:
    """A job spec that can be trained, and what follows from it."""

    spec: JobSpec
    info: DatasetInfo
    labels: tuple[str, ...]
    input_shape: tuple[int, int, int]
    counts: SplitCounts
    network: NetworkSummary
    view: str
    warnings: tuple[dict[str, Any], ...]

    @property
    def layers(self) -> list[LayerSpec]:
        """The network's layers; the last yields one logit for each label."""
        return network_layers(self.spec.architecture, len(self.labels))

    @property
    def document(self) -> dict[str, Any]:
        """The normalised spec as JSON data."""
        return self.spec.model_dump(mode="json")

    @property
    def spec_hash(self) -> str:
        """sha256 of the canonical form, without the fields that change only how a job is run."""
        document = {key: value for key, value in self.document.items() if key not in NOT_IN_HASH}
        return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def builtin_dataset(name: str) -> DatasetInfo | Fault:
    """The lookup that knows the built-in sets alone."""
    info = BUILTIN_DATASETS.get(name)
    if info is None:
        return Fault("", f"there is no dataset {name!r}; built-in are {', '.join(BUILTIN_DATASETS)}", "unknown_dataset")
    return info


def check_spec(body: Any, lookup: Lookup = builtin_dataset) -> CheckedSpec:
    """Checks a parsed JSON body. Raises InvalidJobSpec with all faults, each with a JSON pointer."""
    faults: list[Fault] = []
    spec = _parse(body, faults)
    checked = _check_meaning(spec, lookup, faults) if spec is not None else None
    if faults or checked is None:
        raise InvalidJobSpec(_in_body(faults, body))
    return checked


def _parse(body: Any, faults: list[Fault]) -> JobSpec | None:
    """The spec, or what is left of it without its faulty fields, so that the rest is checked all the same."""
    try:
        return JobSpec.model_validate(body)
    except ValidationError as error:
        faults += validation_faults(error, body)
    try:
        return JobSpec.model_validate(_usable_part(body, faults))
    except ValidationError:
        return None  # nothing usable is left where the dataset or the architecture should be


def _usable_part(body: Any, faults: Sequence[Fault]) -> Any:
    """The body without its faulty fields; of the dataset and the architecture only their own faulty fields go."""
    if not isinstance(body, dict):
        return body
    rest = {key: dict(value) if isinstance(value, dict) else value for key, value in body.items()}
    for fault in faults:
        first, *deeper = steps_of(fault.pointer)
        part = rest.get(first)
        if first in ("dataset", "architecture") and isinstance(part, dict) and deeper:
            part.pop(deeper[0], None)
        else:
            rest.pop(first, None)
    return rest


def _check_meaning(spec: JobSpec, lookup: Lookup, faults: list[Fault]) -> CheckedSpec | None:
    faults += _unsupported(spec)
    info = lookup(spec.dataset.name)
    if isinstance(info, Fault):
        faults.append(Fault("/dataset/name", info.detail, info.code))
        return None
    labels = _chosen_labels(spec.dataset, info, faults)
    dataset = _normalised_dataset(spec, info, labels, faults)
    counts = _split_counts(dataset, info, labels, faults)
    input_shape = _input_shape(dataset)
    try:
        network = network_summary(spec.architecture, input_shape, len(labels))
    except ShapeError as error:
        detail = f"{spec.architecture.name} cannot take {_sides(input_shape)} images: {error}"
        faults.append(Fault("/dataset/image_size", detail, "shape_mismatch"))
        return None
    direction = spec.objective.resolved().direction.value
    objective = spec.objective.model_copy(update={"direction": direction})
    normalised = spec.model_copy(update={"dataset": dataset, "objective": objective})
    warnings = tuple(_warnings(spec))
    return CheckedSpec(
        normalised, info, labels, input_shape, counts, network, dataset.view or view_name(dataset), warnings
    )


def split_plan(dataset: DatasetSpec) -> SplitPlan:
    """How a normalised dataset spec divides the images it draws from."""
    return SplitPlan(
        dataset.validation_fraction or 0.0,
        dataset.test_fraction or 0.0,
        dataset.split,
        dataset.seed,
        dataset.train_limit,
    )


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


def chosen_classes(dataset: DatasetSpec, info: DatasetInfo) -> tuple[int, ...]:
    """Indices into the dataset's labels, ascending."""
    if dataset.classes is None:
        return tuple(range(len(info.labels)))
    return tuple(info.labels.index(str(label)) for label in dataset.classes)


def _in_body(faults: Sequence[Fault], body: Any) -> list[Fault]:
    """Points at the short form where the body used it: /dataset, not /dataset/name."""
    return [Fault(pointer_in(body, steps_of(fault.pointer)), fault.detail, fault.code) for fault in faults]


def _unsupported(spec: JobSpec) -> list[Fault]:
    asked = {
        "/early_stopping": spec.early_stopping is not None,
        "/augmentation": spec.augmentation is not None,
        "/learning_rate_schedule": spec.learning_rate_schedule is not None,
        "/gradient_clipping": spec.gradient_clipping is not None,
        "/class_weights": spec.class_weights is not None,
        "/phases": spec.phases is not None,
        "/precision": spec.precision not in ("auto", "float32"),
        "/devices": spec.devices != 1,
    }
    return [Fault(pointer, "not supported yet", "not_supported_yet") for pointer, used in asked.items() if used]


def _chosen_labels(dataset: DatasetSpec, info: DatasetInfo, faults: list[Fault]) -> tuple[str, ...]:
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


def _label_index(info: DatasetInfo, label: str) -> int | None:
    return info.labels.index(label) if label in info.labels else None


def _normalised_dataset(spec: JobSpec, info: DatasetInfo, labels: tuple[str, ...], faults: list[Fault]) -> DatasetSpec:
    dataset = spec.dataset
    asked_validation = dataset.validation_fraction if "validation_fraction" in dataset.model_fields_set else None
    color = dataset.color or info.color
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
    recipe = RECIPES[spec.architecture.name]
    if info.size is None:
        return recipe.default_size
    height, width = info.size
    own: Shape = (height, width, 3 if color == "rgb" else 1)
    return height if height == width and recipe.takes(spec.architecture, own, classes) else recipe.default_size


def _input_shape(dataset: DatasetSpec) -> tuple[int, int, int]:
    size = dataset.image_size or 0
    return size, size, 3 if dataset.color == "rgb" else 1


def _split_counts(dataset: DatasetSpec, info: DatasetInfo, labels: tuple[str, ...], faults: list[Fault]) -> SplitCounts:
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


def _own_count(own: tuple[int, ...] | None, indices: Sequence[int], planned: int) -> int:
    return planned if own is None else sum(own[index] for index in indices)


def _sides(shape: Shape) -> str:
    return "x".join(str(side) for side in shape)


def _warnings(spec: JobSpec) -> list[dict[str, Any]]:
    rate = spec.optimizer.learning_rate
    usual = 1.0 if spec.optimizer.name in ("sgd", "adadelta", "adagrad", "ftrl") else 0.05
    if rate <= usual:
        return []
    return [
        {
            "code": "learning_rate_too_high",
            "detail": f"{spec.optimizer.name} rarely learns with a rate of {rate:g}; usual are 1e-4 to {usual:g}",
        }
    ]
