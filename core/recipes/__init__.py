"""Architectures: recipes from options to layer specs. A new one is a file here and a line in RECIPES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.layers import LayerSpec, NetworkSummary, Shape, ShapeError, summarize
from core.recipes.lenet import LeNetOptions, lenet

ArchitectureSpec = LeNetOptions
"""The options of an architecture in a job spec; a union of all recipes' options, told apart by `name`."""


@dataclass(frozen=True)
class Recipe:
    """How an architecture is made: its options, its layers, and the image size it is at home with."""

    name: str
    options: type[ArchitectureSpec]
    layers: Callable[[Any, int], list[LayerSpec]]
    default_size: int
    reference: str

    def takes(self, options: ArchitectureSpec, input_shape: Shape, classes: int) -> bool:
        """Whether images of `input_shape` pass through all layers."""
        try:
            summarize(self.layers(options, classes), input_shape)
        except ShapeError:
            return False
        return True


RECIPES: dict[str, Recipe] = {
    "lenet": Recipe(
        name="lenet",
        options=LeNetOptions,
        layers=lenet,
        default_size=32,
        reference="LeCun et al., Gradient-based learning applied to document recognition, 1998",
    ),
}


def network_layers(spec: ArchitectureSpec, classes: int) -> list[LayerSpec]:
    """The layers of the network that `spec` asks for; the last yields `classes` logits."""
    return RECIPES[spec.name].layers(spec, classes)


def network_summary(spec: ArchitectureSpec, input_shape: Shape, classes: int) -> NetworkSummary:
    """Shapes and counts of that network. Raises ShapeError naming the layer that cannot take its input."""
    return summarize(network_layers(spec, classes), input_shape)
