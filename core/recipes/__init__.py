"""Architectures: recipes from options to layer specs. A new one is a file here and a line below, or another package's
entry point of the group `kerasd.architectures` (docs/guides/architectures.md).
"""

from __future__ import annotations

from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from core.layers import LayerSpec, NetworkSummary, Shape, summarize
from core.recipes import alexnet, lenet, mycnn, transfer, vgg
from core.recipes.recipe import ArchitectureOptions, Recipe

PLUGIN_GROUP = "kerasd.architectures"


class PluginError(Exception):
    """An installed package offers an architecture that cannot be used. Names the package's object."""


def _with_plugins(own: list[Recipe]) -> dict[str, Recipe]:
    """All recipes by name. Raises PluginError for a plug-in that cannot be used: nothing is left out silently."""
    recipes = {recipe.name: recipe for recipe in own}
    for entry in entry_points(group=PLUGIN_GROUP):
        recipe = entry.load()
        if not isinstance(recipe, Recipe):
            raise PluginError(f"{entry.value!r} is not a core.recipes.Recipe")
        if recipe.name in recipes:
            raise PluginError(f"{entry.value!r} takes the name {recipe.name!r}, which another architecture has")
        recipes[recipe.name] = recipe
    return recipes


RECIPES = _with_plugins([lenet.RECIPE, alexnet.RECIPE, vgg.RECIPE, mycnn.RECIPE, transfer.RECIPE])

if TYPE_CHECKING:
    ArchitectureSpec = ArchitectureOptions
else:
    ArchitectureSpec = Annotated[
        reduce(or_, [recipe.options for recipe in RECIPES.values()]), Field(discriminator="name")
    ]
    """The options of an architecture in a job spec: a union of all recipes' options, told apart by `name`."""


def network_layers(spec: ArchitectureOptions, classes: int) -> list[LayerSpec]:
    """The layers of the network that `spec` asks for; the last yields `classes` logits."""
    return RECIPES[spec.name].layers(spec, classes)


def network_summary(spec: ArchitectureOptions, input_shape: Shape, classes: int) -> NetworkSummary:
    """Shapes and counts of that network. Raises ShapeError naming the layer that cannot take its input."""
    return summarize(network_layers(spec, classes), input_shape)


__all__ = ["RECIPES", "ArchitectureOptions", "ArchitectureSpec", "Recipe", "network_layers", "network_summary"]
