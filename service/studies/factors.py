"""What a study's variants differ in: factors, their levels, and which variants are equal in everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from pydantic import TypeAdapter

from core.faults import steps_of
from core.training_options import LossSpec
from service.studies.answers import Factor, Level
from service.studies.figures import VariantFigures
from service.studies.level_names import label_of, texts_of

WITHOUT_MEANING = frozenset({"seed", "tags", "priority", "queue", "timeout_seconds", "max_attempts"})
"""Fields that do not decide what is learned."""
WITHOUT_MEANING_OF_DATA = frozenset({"view"})
FILLED_IN = ("dataset.image_size", "batch_size")
"""What an architecture may decide where the spec does not."""
REPEAT = "repeat"
"""Which of several variants with one and the same spec."""

Fields = dict[str, Any]
"""of one variant, by the name of the factor that each may be"""


@dataclass(frozen=True)
class Factors:
    """The factors, and each variant's level of every one."""

    factors: tuple[Factor, ...]
    variants: tuple[VariantFigures, ...]
    levels: tuple[tuple[int | None, ...], ...]
    """by variant, then by factor: places in its levels; None where the variant has no such field"""
    chosen: tuple[frozenset[str], ...]
    """names of the factors that a variant set itself"""

    def settings(self, *without: int) -> list[tuple[int | None, ...]]:
        """Of each variant, its levels of all other factors: equal for variants that differ in none of them.

        What comes with a factor that is left out, such as the options of an architecture that a variant left as they are,
        does not count.
        """
        names = [self.factors[place].name for place in without]
        loose = {
            place: self._shared(place)
            for place, other in enumerate(self.factors)
            if place not in without and any(comes_with(other.name, name) for name in names)
        }
        return [
            tuple(
                None if place in without else self._own(number, place, loose[place]) if place in loose else held
                for place, held in enumerate(levels)
            )
            for number, levels in enumerate(self.levels)
        ]

    def alike(self, factor: int) -> list[dict[int, int]]:
        """Variants equal in all but one factor: for each setting of the others, the variant at each level of it."""
        groups: dict[Hashable, dict[int, int]] = defaultdict(dict)
        for number, (setting, levels) in enumerate(zip(self.settings(factor), self.levels, strict=True)):
            level = levels[factor]
            if level is not None:
                groups[setting].setdefault(level, number)
        return [members for members in groups.values() if len(members) > 1]

    def _own(self, variant: int, place: int, shared: int | None) -> int | None:
        """The level where the variant chose it; else what all share that did not, if they share one."""
        return self.levels[variant][place] if self.factors[place].name in self.chosen[variant] else shared

    def _shared(self, place: int) -> int | None:
        name = self.factors[place].name
        left = {
            levels[place]
            for levels, chosen in zip(self.levels, self.chosen, strict=True)
            if name not in chosen and levels[place] is not None
        }
        return left.pop() if len(left) == 1 else None


def factors_of(variants: Sequence[VariantFigures]) -> Factors:
    """Every field in which any two variants differ, in the order of the job spec."""
    found = [_fields(variant.spec) for variant in variants]
    split = _split_off(variants, found)
    chosen = [_chosen(variant) for variant in variants]
    flat = [_flat(fields, split, own) for fields, own in zip(found, chosen, strict=True)]
    keys = [{name: _key(value) for name, value in fields.items()} for fields in flat]
    names = [name for name in _names(flat) if len({own[name] for own in keys if name in own}) > 1]
    names = [name for name in names if name not in FILLED_IN or _varies(name, variants, keys, chosen)]
    seen: dict[Hashable, int] = defaultdict(int)
    for own, fields in zip(keys, flat, strict=True):
        point = tuple(own.get(name) for name in names)
        seen[point] += 1
        fields[REPEAT] = seen[point]
        own[REPEAT] = _key(seen[point])
    if max(seen.values(), default=1) > 1:
        names.append(REPEAT)
    columns = [_factor(name, variants, flat, keys) for name in names]
    return Factors(
        factors=tuple(factor for factor, _ in columns),
        variants=tuple(variants),
        levels=tuple(zip(*(places for _, places in columns), strict=True)) if columns else ((),) * len(variants),
        chosen=tuple(chosen),
    )


def _factor(
    name: str, variants: Sequence[VariantFigures], flat: Sequence[Fields], keys: Sequence[Mapping[str, bytes]]
) -> tuple[Factor, list[int | None]]:
    """The factor, and each variant's place among its levels: the first variant's first, numbers in order."""
    values = {own[name]: fields[name] for own, fields in zip(keys, flat, strict=True) if name in own}
    first, *others = values
    if all(isinstance(values[key], int | float) for key in others):
        others.sort(key=lambda key: values[key])
    order = [first, *others]
    places = {key: place for place, key in enumerate(order)}
    members: dict[bytes, list[int]] = defaultdict(list)
    for variant, own in zip(variants, keys, strict=True):
        if name in own:
            members[own[name]].append(variant.number)
    texts = texts_of(name, [values[key] for key in order])
    levels = [Level(text, values[key], tuple(members[key])) for text, key in zip(texts, order, strict=True)]
    return Factor(name, label_of(name), tuple(levels)), [places.get(own.get(name, b"")) for own in keys]


def _fields(spec: Mapping[str, Any]) -> Fields:
    """The job spec's fields: the dataset's one by one, the others whole."""
    fields: Fields = {}
    for name, value in spec.items():
        if name == "dataset":
            fields |= {f"dataset.{own}": each for own, each in value.items() if own not in WITHOUT_MEANING_OF_DATA}
        elif name not in WITHOUT_MEANING:
            fields[name] = _whole_loss(value) if name == "loss" and isinstance(value, str) else value
    if fields.get("phases"):
        fields.pop("epochs", None)  # their sum
    return fields


@lru_cache(maxsize=64)
def _whole_loss(name: str) -> dict[str, Any]:
    """A bare name stands for all defaults."""
    loss: dict[str, Any] = TypeAdapter(LossSpec).validate_python({"name": name}).model_dump(mode="json")
    return loss


@dataclass(frozen=True)
class _Split:
    """Options that are factors of their own."""

    set_alone: dict[str, set[str]]
    """by field: those that the space sets without the rest"""
    varying: dict[str, set[str]]
    """by architecture: those of its options in which its variants differ"""


def _split_off(variants: Sequence[VariantFigures], found: Sequence[Fields]) -> _Split:
    alone: dict[str, set[str]] = defaultdict(set)
    for pointer in {pointer for variant in variants for pointer in variant.levels}:
        match steps_of(pointer):
            case [field, option, *_] if field not in {"dataset", "phases"} and option != "name":
                alone[field].add(option)
    seen: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    for fields in found:
        architecture = fields["architecture"]
        for option, value in architecture.items():
            seen[architecture["name"], option].add(_key(value))
    varying: dict[str, set[str]] = defaultdict(set)
    for (name, option), values in seen.items():
        if len(values) > 1:
            varying[name].add(option)
    return _Split(dict(alone), dict(varying))


def _flat(fields: Fields, split: _Split, chosen: frozenset[str]) -> Fields:
    """Factors of their own beside what is left of their field; of an architecture only its name: it decides its other options."""
    flat: Fields = {}
    for name, value in fields.items():
        if not isinstance(value, dict):
            flat[name] = value
        elif name == "architecture":
            flat[name] = value["name"]
            varying = split.varying.get(value["name"], set())
            own = {f"{name}.{option}": each for option, each in value.items() if option != "name"}
            flat |= {
                option: each for option, each in own.items() if option in chosen or option.partition(".")[2] in varying
            }
        else:
            alone = split.set_alone.get(name, set())
            flat[name] = {option: each for option, each in value.items() if option not in alone}
            flat |= {f"{name}.{option}": each for option, each in value.items() if option in alone}
    return flat


def _chosen(variant: VariantFigures) -> frozenset[str]:
    """Names of the factors that the study's space set for this variant, whole fields with the options they name."""
    names = set()
    for pointer, value in variant.levels.items():
        steps = steps_of(pointer)
        names |= {steps[0], ".".join(steps[:2])}
        if len(steps) == 1 and isinstance(value, dict):
            names |= {f"{steps[0]}.{option}" for option in value}
    return frozenset(names)


def _varies(
    name: str,
    variants: Sequence[VariantFigures],
    keys: Sequence[Mapping[str, bytes]],
    chosen: Sequence[frozenset[str]],
) -> bool:
    """Whether it is more than what each architecture decides for itself."""
    within: dict[str, set[bytes | None]] = defaultdict(set)
    for variant, own in zip(variants, keys, strict=True):
        within[variant.architecture].add(own.get(name))
    return any(name in own for own in chosen) or any(len(values) > 1 for values in within.values())


def comes_with(name: str, factor: str) -> bool:
    """Whether a choice of the factor may decide the other field as well."""
    return (
        name.startswith(f"{factor}.")
        or (factor == "architecture" and name in FILLED_IN)
        or (factor == "phases" and name == "epochs")
    )


def _names(flat: Sequence[Fields]) -> list[str]:
    return list(dict.fromkeys(name for fields in flat for name in fields))


def _key(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
