"""From a study spec to the job specs in it: what each variant sets, and the body that a job of it is submitted with."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from core.faults import escaped, steps_of
from core.jobspec import JobSpec
from core.recipes import RECIPES
from core.studyspec import Budget, Range, StudySpec, Variant, pointer_of

NAMED = ("dataset", "architecture", "optimizer", "loss", "learning_rate_schedule")
"""Fields whose short form is a bare name."""


DEFAULTS = {name: JobSpec.model_fields[name].default for name in ("optimizer", "loss")}
"""What a job spec means that does not have the field."""


@dataclass(frozen=True)
class Point:
    """One variant of a study, before it is checked."""

    name: str
    settings: dict[str, Any]
    """what it sets, by JSON pointer into the job spec"""
    origins: dict[str, str]
    """where in the study spec each of these values stands (a JSON pointer), by the same pointers"""
    variant: Variant | None = None
    """of an explicit list"""

    @property
    def key(self) -> bytes:
        """The same for points that set the same; of an explicit list, the name tells."""
        return orjson.dumps([self.name if self.variant else None, self.settings], option=orjson.OPT_SORT_KEYS)


def points_of(study: StudySpec) -> Iterator[Point]:
    """Every variant of a grid or a list, in order."""
    if study.variants is not None:
        for number, variant in enumerate(study.variants):
            origins = {pointer_of(path): f"/variants/{number}/set/{escaped(path)}" for path in variant.set}
            settings = {pointer_of(path): value for path, value in variant.set.items()}
            yield Point(variant.name, settings, origins, variant)
        return
    space = study.space or {}
    for chosen in itertools.product(*(enumerate(_values(values)) for values in space.values())):
        yield point_at(study, dict(zip(space, chosen, strict=True)))


def point_at(study: StudySpec, chosen: Mapping[str, tuple[int | None, Any]]) -> Point:
    """The point with these values by path, each with its place in the space's list (None for one of a range)."""
    settings, origins = {}, {}
    for path, (index, value) in chosen.items():
        pointer = pointer_of(path)
        settings[pointer] = value
        origins[pointer] = f"/space/{escaped(path)}" + ("" if index is None else f"/{index}")
    return Point(
        " ".join(f"{_last(pointer)}={level_text(value)}" for pointer, value in settings.items()), settings, origins
    )


def _values(values: list[Any] | Range) -> list[Any]:
    """Of a range, its ends: a search may choose any between them."""
    if isinstance(values, list):
        return values
    return [int(end) if values.integer else end for end in (values.low, values.high)]


def job_body(study: StudySpec, point: Point, seed: int, *, stand_in: bool = False) -> dict[str, Any]:
    """What a job of the variant with that seed is submitted with.

    With `stand_in`, of the budget's dataset instead of the base's. Raises SettingMisplaced.
    """
    body = copy.deepcopy(study.base)
    if stand_in and study.budget is not None:
        body["dataset"] = _stand_in(body.get("dataset"), study.budget)
    # The shorter pointer first: a whole optimizer, then an option of it.
    for pointer in sorted(point.settings, key=lambda pointer: len(steps_of(pointer))):
        put(body, pointer, copy.deepcopy(point.settings[pointer]))
    if study.objective is not None:
        body["objective"] = study.objective.model_dump(mode="json")
    if study.budget is not None:
        donor = point.variant is not None and point.variant.donor
        _shrink(body, study.budget, keeps_width=donor)
    body["seed"] = seed
    return body


class SettingMisplaced(Exception):
    """A pointer leads to no place in the job spec."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer
        self.detail = detail


def put(body: dict[str, Any], pointer: str, value: Any) -> None:
    """Sets a field of a job spec in place; a short form on the way ("adam") becomes an object. Raises SettingMisplaced."""
    *way, last = steps_of(pointer)
    here: Any = body
    for depth, step in enumerate(way):
        there = _entry(here, step, pointer)
        if there is None:
            there = DEFAULTS.get(step, {}) if depth == 0 else {}
        if isinstance(there, str) and depth == 0 and step in NAMED:
            there = {"name": there}
        if not isinstance(there, dict | list):
            raise SettingMisplaced(
                pointer, f"{'/'.join(way[: depth + 1])} is no object that has a {way[depth + 1 :] or last}"
            )
        _store(here, step, there)
        here = there
    _entry(here, last, pointer)
    _store(here, last, value)


def _entry(here: dict[str, Any] | list[Any], step: str, pointer: str) -> Any:
    if isinstance(here, dict):
        return here.get(step)
    if not step.isdecimal() or int(step) >= len(here):
        raise SettingMisplaced(pointer, f"the list has {len(here)} entries and none at {step!r}")
    return here[int(step)]


def _store(here: dict[str, Any] | list[Any], step: str, value: Any) -> None:
    if isinstance(here, dict):
        here[step] = value
    else:
        here[int(step)] = value


def _stand_in(dataset: Any, budget: Budget) -> dict[str, Any]:
    """The stand-in, divided as the base's dataset; its classes are its own."""
    kept = ("split", "seed", "train_limit", "image_size", "color")
    given = dataset if isinstance(dataset, dict) else {}
    return {"name": budget.stand_in, **{field: given[field] for field in kept if field in given}}


def _shrink(body: dict[str, Any], budget: Budget, *, keeps_width: bool) -> None:
    if budget.epochs is not None:
        body["epochs"] = _least(body.get("epochs", 25), budget.epochs)
        phases = body.get("phases")
        if isinstance(phases, list):
            for phase in phases:
                if isinstance(phase, dict):
                    phase["epochs"] = _least(phase.get("epochs"), budget.epochs)
            body.pop("epochs")
    if budget.train_images is not None:
        dataset = body.get("dataset")
        body["dataset"] = dataset = {"name": dataset} if isinstance(dataset, str) else dataset
        if isinstance(dataset, dict):
            dataset["train_limit"] = _least(dataset.get("train_limit"), budget.train_images)
    if budget.width is not None and not keeps_width:
        architecture = body.get("architecture")
        architecture = {"name": architecture} if isinstance(architecture, str) else architecture
        recipe = RECIPES.get(architecture.get("name", "")) if isinstance(architecture, dict) else None
        if isinstance(architecture, dict) and recipe is not None and "width" in recipe.options.model_fields:
            own = architecture.get("width", 1.0)
            body["architecture"] = {
                **architecture,
                "width": own * budget.width if isinstance(own, int | float) else own,
            }


def _least(asked: Any, most: int) -> Any:
    """The smaller; what is no number is left for the check of the spec to refuse."""
    if asked is None:
        return most
    return min(asked, most) if isinstance(asked, int) and not isinstance(asked, bool) else asked


def level_text(value: Any) -> str:
    """A value of the space in a few characters."""
    match value:
        case dict():
            rest = {key: entry for key, entry in value.items() if key != "name"}
            named = [str(value["name"])] if "name" in value else []
            return " ".join([*named, *(f"{key} {level_text(entry)}" for key, entry in rest.items())]) or "{}"
        case list():
            return f"{len(value)} entries" if len(value) > 4 else "+".join(map(level_text, value))
        case float():
            return f"{value:g}"
        case None | bool():
            return {None: "none", True: "on", False: "off"}[value]
    return str(value)


def _last(pointer: str) -> str:
    return steps_of(pointer)[-1]
