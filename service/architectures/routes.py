"""/api/v1/architectures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from core.errors import Fault, InvalidQuery, NotFound
from core.layers import LayerRow, NetworkSummary, ShapeError
from core.recipes import RECIPES, Recipe, network_summary

router = APIRouter(prefix="/api/v1/architectures", tags=["architectures"])

DEFAULT_CLASSES = 20
LARGEST_SIDE = 4096


@router.get("")
def get_architectures() -> dict[str, Any]:
    """Every architecture with its options and reference."""
    return {"items": [_describe(recipe) for recipe in RECIPES.values()]}


@router.get("/{name}")
def get_architecture(
    name: str,
    input_shape: Annotated[
        str | None, Query(description="height,width,channels; default: the recipe's own size in RGB")
    ] = None,
    classes: Annotated[int, Query(ge=2, le=100_000)] = DEFAULT_CLASSES,
) -> dict[str, Any]:
    """One architecture with its layer table for an input shape and a number of classes."""
    recipe = RECIPES.get(name)
    if recipe is None:
        raise NotFound(f"there is no architecture {name!r}; known are {', '.join(RECIPES)}")
    shape = _parse_shape(input_shape) if input_shape else (recipe.default_size, recipe.default_size, 3)
    try:
        summary = network_summary(recipe.options(name=name), shape, classes)
    except ShapeError as error:
        raise InvalidQuery(
            f"{name} cannot take this input", [Fault("/query/input_shape", str(error), "shape_mismatch")]
        ) from None
    return {**_describe(recipe), "input_shape": list(shape), "classes": classes, **_table(summary)}


def _describe(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "options": recipe.options.model_json_schema(),
        "default_size": recipe.default_size,
        "reference": recipe.reference,
    }


def _table(summary: NetworkSummary) -> dict[str, Any]:
    return {
        "layers": [_layer(row) for row in summary.rows],
        "network": {
            "parameters": summary.parameters,
            "trainable_parameters": summary.trainable_parameters,
            "output_shape": list(summary.output_shape),
        },
    }


def _layer(row: LayerRow) -> dict[str, Any]:
    return {
        "type": row.layer.type,
        "name": row.layer.name,
        **row.layer.settings,
        "output_shape": list(row.output_shape),
        "parameters": row.parameters,
        "trainable_parameters": row.trainable_parameters,
    }


def _parse_shape(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    sides = [int(part) for part in parts if part.strip().isdecimal() and len(part) <= 6]
    if len(parts) != 3 or len(sides) != 3 or not all(1 <= side <= LARGEST_SIDE for side in sides):
        detail = f"must be height,width,channels, each from 1 to {LARGEST_SIDE}"
        raise InvalidQuery("the query has a fault", [Fault("/query/input_shape", detail)])
    return sides[0], sides[1], sides[2]
