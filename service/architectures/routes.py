"""/api/v1/architectures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import TypeAdapter, ValidationError

from core.errors import Fault, InvalidQuery, NotFound
from core.faults import validation_faults
from core.layers import LayerRow, NetworkSummary, ShapeError, summarize
from core.recipes import RECIPES, ArchitectureOptions, Recipe, network_layers, network_summary
from service.architectures.comparison import Compared, as_csv, as_markdown

router = APIRouter(prefix="/api/v1", tags=["architectures"])

DEFAULT_CLASSES = 20
LARGEST_SIDE = 4096
CHANNELS = {"rgb": 3, "grayscale": 1}

InputShape = Annotated[
    str | None, Query(description="height,width,channels; default: the architecture's own size in RGB")
]
Classes = Annotated[int, Query(ge=2, le=100_000)]


@router.get("/architectures")
def get_architectures() -> dict[str, Any]:
    """Every architecture with its options, presets and reference."""
    return {"items": [_describe(recipe) for recipe in RECIPES.values()]}


@router.get(
    "/architectures:compare",
    response_model=None,
    responses={200: {"content": {"application/json": {}, "text/csv": {}, "text/markdown": {}}}},
)
def compare_architectures(
    names: Annotated[
        str | None, Query(description="separated by commas; a preset as name:preset; default: all architectures")
    ] = None,
    input_shape: InputShape = None,
    classes: Classes = DEFAULT_CLASSES,
    format_: Annotated[
        Literal["json", "csv", "markdown"] | None, Query(alias="format", description="default: what Accept asks for")
    ] = None,
    accept: Annotated[str, Header()] = "application/json",
) -> Any:
    """Layers, filter sizes, activation, parameters, input, pooling and dropout, side by side, computed from the networks."""
    chosen = [name.strip() for name in names.split(",")] if names else list(RECIPES)
    rows = [_compared(name, input_shape, classes).row() for name in chosen]
    wanted = format_ or next((kind for kind in ("csv", "markdown") if f"text/{kind}" in accept), "json")
    if wanted == "json":
        return {"items": rows}
    text = as_csv(rows) if wanted == "csv" else as_markdown(rows)
    return Response(text, media_type=f"text/{wanted}")


@router.get("/architectures/{name}")
def get_architecture(
    name: str,
    input_shape: InputShape = None,
    classes: Classes = DEFAULT_CLASSES,
    options: Annotated[str | None, Query(description='as JSON: {"preset": "vgg16"}', max_length=10_000)] = None,
) -> dict[str, Any]:
    """One architecture with its layer table for an input shape, a number of classes and options."""
    recipe = _recipe(name)
    chosen = _options(recipe, options)
    shape = _shape_of(recipe, chosen, input_shape)
    summary = _summary(chosen, shape, classes)
    return {
        **_describe(recipe),
        "chosen_options": chosen.model_dump(mode="json"),
        "input_shape": list(shape),
        "classes": classes,
        **_table(summary),
    }


def _compared(name: str, input_shape: str | None, classes: int) -> Compared:
    architecture, _, preset = name.partition(":")
    recipe = _recipe(architecture)
    chosen = _options(recipe, orjson.dumps({"preset": preset}).decode() if preset else None)
    shape = _shape_of(recipe, chosen, input_shape)
    layers = network_layers(chosen, classes)
    _summary(chosen, shape, classes)
    return Compared(name, layers, shape, summarize(layers, shape))


def _recipe(name: str) -> Recipe:
    recipe = RECIPES.get(name)
    if recipe is None:
        raise NotFound(f"there is no architecture {name!r}; known are {', '.join(RECIPES)}")
    return recipe


def _options(recipe: Recipe, text: str | None) -> ArchitectureOptions:
    """Raises InvalidQuery naming each fault."""
    pointer = "/query/options"
    try:
        given = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError as error:
        raise InvalidQuery("the query has a fault", [Fault(pointer, f"is not JSON: {error}")]) from None
    if not isinstance(given, dict):
        raise InvalidQuery("the query has a fault", [Fault(pointer, "must be an object")])
    body = {**given, "name": recipe.name}
    try:
        chosen: ArchitectureOptions = TypeAdapter(recipe.options).validate_python(body)
    except ValidationError as error:
        faults = [Fault(pointer + fault.pointer, fault.detail, fault.code) for fault in validation_faults(error, body)]
        raise InvalidQuery("the query has a fault", faults) from None
    if faults := [Fault(f"{pointer}/{field}", detail) for field, detail in recipe.faults(chosen)]:
        raise InvalidQuery("the query has a fault", faults)
    return chosen


def _shape_of(recipe: Recipe, options: ArchitectureOptions, text: str | None) -> tuple[int, int, int]:
    color = recipe.color_of(options)
    if not text:
        side = options.input_size or recipe.default_size
        return side, side, 1 if color == "grayscale" else 3
    shape = _parse_shape(text)
    if color is not None and shape[2] != CHANNELS[color]:
        detail = f"{recipe.name} takes {color} images only, with these options: {CHANNELS[color]} channels"
        raise InvalidQuery("the query has a fault", [Fault("/query/input_shape", detail, "shape_mismatch")])
    return shape


def _summary(options: ArchitectureOptions, shape: tuple[int, int, int], classes: int) -> NetworkSummary:
    try:
        return network_summary(options, shape, classes)
    except ShapeError as error:
        raise InvalidQuery(
            f"{options.name} cannot take this input", [Fault("/query/input_shape", str(error), "shape_mismatch")]
        ) from None


def _describe(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "options": recipe.options.model_json_schema(),
        "presets": {name: dict(options) for name, options in recipe.options.PRESETS.items()},
        "default_size": recipe.default_size,
        "reference": recipe.reference,
    }


def _table(summary: NetworkSummary) -> dict[str, Any]:
    return {
        "layers": [_layer(row) for row in summary.rows],
        "network": summary.size,
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
