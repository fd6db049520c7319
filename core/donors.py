"""Jobs that lend their weights to another's network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from core.bases import Base
from core.errors import Fault
from core.jobspec import JobSpec
from core.layers import Conv2D, Dense, Dropout, LayerSpec, Residual, Shape
from core.recipes import RECIPES, network_layers
from core.recipes.transfer import JobWeights, ModelWeights, TransferOptions


@dataclass(frozen=True)
class Donor:
    """What a job published: its spec, how many classes it knows, its input's shape, and the file of its weights."""

    job_id: str
    spec: dict[str, Any]
    classes: int
    input_shape: tuple[int, int, int]
    path: str
    sha256: str
    version: int
    """of the model that it published"""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Donor:
        return cls(**{**value, "input_shape": tuple(value["input_shape"])})

    @property
    def layers(self) -> list[LayerSpec]:
        """Of its network."""
        return network_layers(JobSpec.model_validate(self.spec).architecture, self.classes)


Wanted = JobWeights | ModelWeights
DonorLookup = Callable[[Wanted], "Donor | Fault"]
"""Who lends what a spec asks for, or why nobody does (the fault's pointer is filled in by the caller)."""


def no_donors(wanted: Wanted) -> Fault:
    """The lookup where no job is known."""
    return Fault("", "there is no such job or model", "unknown_weights")


def wanted_weights(spec: JobSpec) -> Wanted | None:
    """What a job needs of another; None where it needs nothing."""
    options = spec.architecture
    if isinstance(options, TransferOptions) and isinstance(options.weights, Wanted):
        return options.weights
    return None


def mismatch(donor: Donor, spec: JobSpec, classes: int, input_shape: Shape) -> str | None:
    """Why the donor's weights do not fit; None where they do."""
    options, wanted = spec.architecture, wanted_weights(spec)
    if not isinstance(options, TransferOptions) or wanted is None:
        raise ValueError("the spec asks for no weights")
    lent = JobSpec.model_validate(donor.spec).architecture
    if wanted.part == "base":
        base = RECIPES[lent.name].base_of(lent)
        if base == options.base:
            return None
        holds = f"the base {base}" if base else "no published base"
        return f"job {donor.job_id} trained {lent.name} with {holds}, not {options.base}"
    if donor.classes != classes:
        return f"job {donor.job_id} learned {donor.classes} classes, not {classes}; its base alone can be lent"
    if donor.input_shape != input_shape:
        return f"job {donor.job_id} takes images of {donor.input_shape}, not {input_shape}; its base alone can be lent"
    if _weights_of(donor.layers) != _weights_of(network_layers(options, classes)):
        return f"job {donor.job_id} trained {lent.name} with other options; its base alone can be lent"
    return None


def _weights_of(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """The layers without what does not change their weights' shapes and use: dropout, what of a base is trained, first weights."""
    return [_alike(layer) for layer in layers if not isinstance(layer, Dropout)]


def _alike(layer: LayerSpec) -> LayerSpec:
    match layer:
        case Base():
            return replace(layer, trainable=False, unfreeze_from=None)
        case Conv2D() | Dense():
            return replace(layer, initializer="glorot_uniform")
        case Residual():
            return replace(layer, main=tuple(_weights_of(layer.main)), shortcut=tuple(_weights_of(layer.shortcut)))
    return layer
