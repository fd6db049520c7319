"""The fields in which specs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def differing_fields(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By JSON pointer, the value of each spec that has the field: only where values differ or a spec has none."""
    values: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        for pointer, value in _leaves(spec, ""):
            values.setdefault(pointer, {})[name] = value
    return {pointer: of_each for pointer, of_each in values.items() if not _same(of_each, len(specs))}


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Objects are taken apart, and lists of objects (phases); a list of anything else (classes) is one value."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{pointer}/{index}")
    else:
        yield pointer, value


def _same(values: Mapping[str, Any], specs: int) -> bool:
    first = next(iter(values.values()))
    return len(values) == specs and all(value == first for value in values.values())
