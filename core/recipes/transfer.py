"""Transfer learning: the convolutional base of a published network, and a head that learns the new classes on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from core.bases import BASES, Base, BaseName
from core.layers import Dense, Dropout, Flatten, GlobalAveragePooling2D, LayerSpec
from core.recipes.mycnn import ResidualOptions, residual_units, stem
from core.recipes.recipe import DropoutRate, Recipe
from core.schema import Schema

Part = Literal["base", "network"]


class JobWeights(Schema):
    """Weights of the model that an earlier job of this service published."""

    job: Annotated[str, Field(min_length=1, max_length=100)]
    part: Part = "base"
    """network: the head's too, to go on where that job ended"""


class ModelWeights(Schema):
    """Weights of a version of a model; without `version`, of the one that predictions use now."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    part: Part = "base"


def _kind_of_weights(value: Any) -> str | None:
    match value:
        case str():
            return "(name)"
        case JobWeights() | {"job": _}:
            return "(job)"
        case ModelWeights() | {"model": _}:
            return "(model)"
    return None


Weights = Annotated[
    Annotated[Literal["imagenet", "none"], Tag("(name)")]
    | Annotated[JobWeights, Tag("(job)")]
    | Annotated[ModelWeights, Tag("(model)")],
    Discriminator(
        _kind_of_weights,
        custom_error_type="weights",
        custom_error_message="must be 'imagenet', 'none', or an object with job or model",
    ),
]


class TransferOptions(ResidualOptions):
    name: Literal["transfer"] = "transfer"
    base: BaseName = "vgg16"
    weights: Weights = "imagenet"
    """imagenet: as published; none: random; or those that an earlier job learned"""
    frozen: bool = True
    """whether the base's weights stay as they are"""
    unfreeze_from: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """of a frozen base: this layer and those behind it are trained all the same"""
    head: Literal["residual", "average"] = "residual"
    """residual: mycnn's first convolution and units; average: a global average alone"""
    dropout: DropoutRate | None = 0.2
    """before the last layer"""


def transfer(options: TransferOptions, classes: int) -> list[LayerSpec]:
    """A base with its own preprocessing, and a head; ends in `classes` logits."""
    layers: list[LayerSpec] = [
        *BASES[options.base].preprocessing,
        Base("base", options.base, trainable=not options.frozen, unfreeze_from=options.unfreeze_from),
    ]
    if options.head == "residual":
        layers += [*stem(options), *residual_units(options)]
    else:
        layers.append(GlobalAveragePooling2D("average"))
    if options.dropout:
        layers.append(Dropout("dropout", options.dropout))
    if options.head == "residual":
        layers.append(Flatten("flatten"))
    return [*layers, Dense("logits", classes, initializer=options.initializer)]


def transfer_faults(options: TransferOptions) -> list[tuple[str, str]]:
    faults = []
    if options.unfreeze_from is not None:
        if not options.frozen:
            faults.append(("unfreeze_from", "the base is not frozen"))
        elif trouble := unfreeze_trouble(options.base, options.unfreeze_from):
            faults.append(("unfreeze_from", trouble))
    return faults


def unfreeze_trouble(base: BaseName, layer: str) -> str | None:
    """Why a base cannot be unfrozen from that layer on; None where it can."""
    names = _trainable(base)
    if layer in names:
        return None
    return f"{base} has no layer {layer!r} to train; it has {names[0]} to {names[-1]}"


def untrained_trouble(options: TransferOptions, points: Sequence[str | None]) -> str | None:
    """Why a base that starts at random would never learn as a whole, unfrozen from `points` on; None where it does."""
    first = _trainable(options.base)[0]
    if options.weights != "none" or not options.frozen or first in points:
        return None
    return f"a base without weights has to learn from its first layer on; say false, unfreeze it from {first}, or give weights"


def _trainable(base: BaseName) -> list[str]:
    return [entry.name for entry in BASES[base].layers if not entry.statistics]


def _base(options: Any) -> BaseName | None:
    base: BaseName = options.base
    return base


RECIPE = Recipe(
    name="transfer",
    options=TransferOptions,
    layers=transfer,
    reference="Simonyan and Zisserman, 2015, and the papers of the other bases; head: He et al., 2016",
    color_of=lambda _options: "rgb",
    base_of=_base,
    faults=transfer_faults,
)
