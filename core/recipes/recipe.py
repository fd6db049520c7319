"""What an architecture is made of: options, and a function from options to layer specs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from core.bases import BaseName
from core.layers import Initializer, LayerSpec, Shape, ShapeError, summarize
from core.schema import Schema

Presets = Mapping[str, Mapping[str, Any]]
Color = Literal["rgb", "grayscale"]
Width = Annotated[float, Field(gt=0, le=8)]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
LARGEST_SIDE = 1024
"""pixels of a side of the images that a network may take"""


class ArchitectureOptions(Schema):
    """Options that every architecture has. A subclass adds `name`, its own options and its `preset`."""

    PRESETS: ClassVar[Presets] = {}
    """Named sets of options: what a preset sets and the caller does not"""

    name: str
    input_size: Annotated[int, Field(ge=1, le=LARGEST_SIDE)] | None = None
    """pixels of a side; null: the dataset's own where the architecture can take it"""
    initializer: Initializer = "glorot_uniform"
    """of kernels; biases start at zero"""

    @model_validator(mode="wrap")
    @classmethod
    def _fill_in_preset(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping) or not isinstance(given.get("preset"), str):
            return validate(given)
        options = validate({**cls.PRESETS.get(given["preset"], {}), **given})
        if "input_size" not in given:
            options.model_fields_set.discard("input_size")
        return options

    @property
    def asked_size(self) -> int | None:
        """`input_size` where the caller gave it: a preset's is a default that gives way to the dataset's `image_size`."""
        return self.input_size if "input_size" in self.model_fields_set else None


def no_faults(_options: Any) -> list[tuple[str, str]]:
    return []


def any_color(_options: Any) -> None:
    return None


def no_base(_options: Any) -> None:
    return None


@dataclass(frozen=True)
class Recipe:
    """How an architecture is made. An installed package adds one as an entry point of the group `kerasd.architectures`."""

    name: str
    options: type[ArchitectureOptions]
    layers: Callable[[Any, int], list[LayerSpec]]
    """from options and a number of classes to layers; the last yields that many logits"""
    reference: str
    default_size: int = 32
    """pixels of a side where neither the job spec nor the dataset says"""
    color_of: Callable[[Any], Color | None] = any_color
    """what its images must be; None: either"""
    base_of: Callable[[Any], BaseName | None] = no_base
    """which published base its network contains, layer by layer: such networks can lend each other their weights"""
    faults: Callable[[Any], list[tuple[str, str]]] = no_faults
    """what is wrong with options that are right one by one: pairs of an option's name and what is wrong"""

    def takes(self, options: ArchitectureOptions, input_shape: Shape, classes: int) -> bool:
        """Whether images of `input_shape` pass through all layers."""
        try:
            summarize(self.layers(options, classes), input_shape)
        except ShapeError:
            return False
        return True


def wide(count: int, width: float) -> int:
    """That many filters or units, multiplied by the option `width`."""
    return max(1, round(count * width))
