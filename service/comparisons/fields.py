"""Job specs as flat fields: which of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_ABSENT = object()


def differences(specs: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The fields that differ, as JSON pointers in the order of the specs, and each spec's values of them.

    A field differs where its value is not the same in all specs, or some do not have it; those have no value of it.
    Objects, and lists of objects, are gone into; what is in another list belongs together and is one value. A null where
    others have fields below says no more than that there are none, and is no field.
    """
    changed = [name for name in specs[0] if any(spec.get(name, _ABSENT) != specs[0][name] for spec in specs)]
    changed += {name: None for spec in specs for name in spec if name not in specs[0]}
    flat = [dict(_leaves({name: spec[name] for name in changed if name in spec}, "")) for spec in specs]
    fields = _merged([list(spec) for spec in flat])
    inner = {field[:cut] for field in fields for cut in range(1, len(field)) if field[cut] == "/"}
    first = flat[0]
    differing = tuple(
        field
        for field in fields
        if field not in inner and any(spec.get(field, _ABSENT) != first.get(field, _ABSENT) for spec in flat)
    )
    return differing, [{field: spec[field] for field in differing if field in spec} for spec in flat]


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        if pointer and not value:
            yield pointer, value
        for name, entry in value.items():
            yield from _leaves(entry, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for place, entry in enumerate(value):
            yield from _leaves(entry, f"{pointer}/{place}")
    else:
        yield pointer, value


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """All fields: where a spec has one that those before have not, it comes after the one that it follows there."""
    merged: list[str] = []
    known: set[str] = set()
    for order in orders:
        if known.issuperset(order):
            continue
        after = 0
        for field in order:
            if field in known:
                after = merged.index(field) + 1
            else:
                merged.insert(after, field)
                known.add(field)
                after += 1
    return merged
