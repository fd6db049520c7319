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
from core.jobspec import JobSpec
from core.layers import LayerSpec, NetworkSummary, Shape, ShapeError
from core.recipes import network_layers, network_summary
from core.splits import SplitCounts
from core.views import chosen_labels, input_shape_of, normalised_dataset, split_counts, view_name

Lookup = Callable[[str], "DatasetInfo | Fault"]
"""What is known of a dataset by name, or the fault that it cannot be used (its pointer is filled in here)."""

NOT_IN_HASH = ("tags", "priority", "queue", "timeout_seconds", "max_attempts")
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
    labels = chosen_labels(spec.dataset, info, faults)
    dataset = normalised_dataset(spec, info, labels, faults)
    counts = split_counts(dataset, info, labels, faults)
    faults += _device_faults(spec, counts)
    input_shape = input_shape_of(dataset)
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
    }
    return [Fault(pointer, "not supported yet", "not_supported_yet") for pointer, used in asked.items() if used]


def _device_faults(spec: JobSpec, counts: SplitCounts) -> list[Fault]:
    """Every batch must have an image for each device, and only one device adds its sums in a fixed order."""
    if spec.devices == 1:
        return []
    faults = []
    smallest = counts.train % spec.batch_size or spec.batch_size
    if smallest < spec.devices:
        detail = f"an epoch has a batch of {smallest} of {counts.train} images, fewer than the {spec.devices} devices"
        faults.append(Fault("/batch_size", detail))
    if spec.deterministic:
        faults.append(Fault("/deterministic", "needs devices to be 1: sums over several are not repeatable"))
    return faults


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
