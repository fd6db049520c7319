"""From a request body to a checked, normalised job spec, or to every fault found in it.

No dataset is opened and no worker asked: counts come from what the dataset's row tells, shapes and parameters from the
recipe's layer specs. The same check guards submitting and `?validate_only=true`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from pydantic import ValidationError

from core.bases import Base
from core.contradictions import COUNTS, batch_size_of, contradictions, images_of_an_epoch, rests_on
from core.datasets import BUILTIN_DATASETS, DatasetInfo
from core.donors import Donor, DonorLookup, mismatch, no_donors, wanted_weights
from core.errors import Fault, InvalidJobSpec
from core.faults import pointer_in, steps_of, validation_faults
from core.jobspec import DatasetSpec, JobSpec
from core.layers import LayerSpec, NetworkSummary, Shape, ShapeError, summarize
from core.recipes import network_layers, network_summary
from core.recipes.transfer import ModelWeights
from core.splits import SplitCounts
from core.training_options import PiecewiseConstant
from core.views import chosen_labels, input_shape_of, normalised_dataset, split_counts, view_name

Lookup = Callable[[str], "DatasetInfo | Fault"]
"""What is known of a dataset by name, or the fault that it cannot be used (its pointer is filled in here)."""

NOT_IN_HASH = ("tags", "priority", "queue", "timeout_seconds", "max_attempts")
"""Fields that change how a job is run, not what it computes."""

MOST_PARAMETERS = (2**31 - 2**22) // 4
"""float32 weights of a network; a protobuf message ends below 2 GiB, and its layers need room beside their weights"""


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
    donor: Donor | None
    """the job whose weights the network starts with"""

    @property
    def layers(self) -> list[LayerSpec]:
        """The network's layers; the last yields one logit for each label."""
        return network_layers(self.spec.architecture, len(self.labels))

    def layers_in(self, phase: int) -> list[LayerSpec]:
        """The same layers, with so much of the base trained as that phase of the spec says."""
        points = [entry.unfreeze_from for entry in self.spec.planned_phases[: phase + 1] if entry.unfreeze_from]
        if not points:
            return self.layers
        return [replace(layer, unfreeze_from=points[-1]) if isinstance(layer, Base) else layer for layer in self.layers]

    def network_in(self, phase: int) -> NetworkSummary:
        return summarize(self.layers_in(phase), self.input_shape)

    @property
    def epoch_images(self) -> int:
        """How many images an epoch trains on."""
        return images_of_an_epoch(self.spec, self.counts)

    @property
    def steps(self) -> int:
        """Batches of an epoch, the last of which may be smaller."""
        return -(-self.epoch_images // self.spec.batch_size)

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


def check_spec(body: Any, lookup: Lookup = builtin_dataset, donors: DonorLookup = no_donors) -> CheckedSpec:
    """Checks a parsed JSON body. Raises InvalidJobSpec with all faults, each with a JSON pointer."""
    faults: list[Fault] = []
    spec = _parse(body, faults)
    checked = _check_meaning(spec, lookup, donors, faults) if spec is not None else None
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


def _check_meaning(spec: JobSpec, lookup: Lookup, donors: DonorLookup, faults: list[Fault]) -> CheckedSpec | None:
    """Adds what is wrong to `faults`, as far as it does not rest on a field that is already in there."""
    info = lookup(spec.dataset.name)
    if isinstance(info, Fault):
        faults.append(Fault("/dataset/name", info.detail, info.code))
        return None
    unsure = {steps_of(fault.pointer)[0] for fault in faults if fault.pointer and fault.code != "unknown_field"}
    told = len(faults)
    labels = chosen_labels(spec.dataset, info, faults)
    dataset = normalised_dataset(spec, info, labels, faults)
    counts = split_counts(dataset, info, labels, [] if "dataset" in unsure else faults)
    if len(faults) > told:
        unsure.add(COUNTS)
    together = [fault for fault in contradictions(spec, labels, counts) if not unsure & rests_on(fault)]
    faults += together
    if unsure & {"dataset", "architecture"} or any(
        fault.pointer.startswith(("/architecture/", "/dataset/color")) for fault in together
    ):
        return None  # shapes would tell the same once more
    input_shape = input_shape_of(dataset)
    try:
        network = network_summary(spec.architecture, input_shape, len(labels))
    except ShapeError as error:
        detail = f"{spec.architecture.name} cannot take {_sides(input_shape)} images: {error}"
        faults.append(Fault("/dataset/image_size", detail, "shape_mismatch"))
        return None
    if network.parameters > MOST_PARAMETERS:
        detail = (
            f"has {network.parameters:,} parameters; a published model is one ONNX file, which ends at 2 GiB, so that at most "
            f"{MOST_PARAMETERS:,} fit; use a smaller width or image_size"
        )
        faults.append(Fault("/architecture", detail, "network_too_large"))
    donor = _donor(spec, len(labels), input_shape, donors, faults)
    normalised = _normalised(spec, dataset, counts, donor, faults)
    if normalised is None:
        return None
    return CheckedSpec(
        normalised,
        info,
        labels,
        input_shape,
        counts,
        network,
        dataset.view or view_name(dataset),
        tuple(_warnings(spec)),
        donor,
    )


def _normalised(
    spec: JobSpec, dataset: DatasetSpec, counts: SplitCounts, donor: Donor | None, faults: list[Fault]
) -> JobSpec | None:
    """The spec with everything that was left open filled in; None where that is out of the schema's bounds.

    It is validated again, since it is read again by whoever claims the job: what they cannot read must not be accepted.
    """
    direction = spec.objective.resolved().direction.value
    changes: dict[str, Any] = {
        "dataset": dataset,
        "objective": spec.objective.model_copy(update={"direction": direction}),
        "batch_size": batch_size_of(spec, counts),
        "epochs": sum(phase.epochs for phase in spec.planned_phases),
    }
    options, weights = spec.architecture, wanted_weights(spec)
    if donor is not None and isinstance(weights, ModelWeights):
        options = options.model_copy(update={"weights": weights.model_copy(update={"version": donor.version})})
    if options.input_size is not None:
        options = options.model_copy(update={"input_size": dataset.image_size})
    changes["architecture"] = options
    document = spec.model_copy(update=changes).model_dump(mode="json")
    try:
        return JobSpec.model_validate(document)
    except ValidationError as error:
        if not faults:  # else they tell the same in the caller's words
            faults += validation_faults(error, document)
        return None


def _donor(
    spec: JobSpec, classes: int, input_shape: tuple[int, int, int], donors: DonorLookup, faults: list[Fault]
) -> Donor | None:
    wanted = wanted_weights(spec)
    if wanted is None:
        return None
    pointer = "/architecture/weights"
    found = donors(wanted)
    if isinstance(found, Fault):
        faults.append(Fault(pointer, found.detail, found.code))
        return None
    trouble = mismatch(found, spec, classes, input_shape)
    if trouble:
        faults.append(Fault(pointer, trouble, "weights_mismatch"))
    return found


def _in_body(faults: Sequence[Fault], body: Any) -> list[Fault]:
    """Points at the short form where the body used it: /dataset, not /dataset/name."""
    return [Fault(pointer_in(body, steps_of(fault.pointer)), fault.detail, fault.code) for fault in faults]


def _sides(shape: Shape) -> str:
    return "x".join(str(side) for side in shape)


def _warnings(spec: JobSpec) -> list[dict[str, Any]]:
    return [warning for warning in (_high_rate(spec), _late_boundaries(spec)) if warning is not None]


def _high_rate(spec: JobSpec) -> dict[str, Any] | None:
    rates = [phase.learning_rate or spec.optimizer.learning_rate for phase in spec.planned_phases]
    rate = max(rates)
    usual = 1.0 if spec.optimizer.name in ("sgd", "adadelta", "adagrad", "ftrl") else 0.05
    if rate <= usual:
        return None
    where = f" in phase {rates.index(rate) + 1}" if spec.phases else ""
    return _warning(
        "learning_rate_too_high",
        f"{spec.optimizer.name} rarely learns with a rate of {rate:g}{where}",
        f"usual are 1e-4 to {usual:g}",
        {"learning_rate": rate, "usual": usual},
    )


def _late_boundaries(spec: JobSpec) -> dict[str, Any] | None:
    schedule, longest = spec.learning_rate_schedule, max(phase.epochs for phase in spec.planned_phases)
    if not isinstance(schedule, PiecewiseConstant) or schedule.boundaries[-1] < longest:
        return None
    late = next(bound for bound in schedule.boundaries if bound >= longest)
    return _warning(
        "boundary_never_reached",
        f"the learning rate does not change after epoch {late:g}: {'the longest phase' if spec.phases else 'the job'} "
        f"ends after {longest}",
        "train longer, or give earlier boundaries",
        {"boundary": late, "epochs": longest},
    )


def _warning(code: str, seen: str, advice: str, numbers: dict[str, float]) -> dict[str, Any]:
    """In the form of those that a training gives (docs/guides/training.md)."""
    return {"code": code, "detail": f"{seen}; {advice}", "numbers": numbers, "advice": advice}
