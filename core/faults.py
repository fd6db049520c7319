"""Pydantic's errors as faults that speak of the caller's own JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from core.errors import Fault

_WORDS = (
    ("Value error, ", ""),
    ("Input should be a valid", "must be a"),
    ("Input should be ", "must be "),
    ("must be a integer", "must be an integer"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
)


def validation_faults(error: ValidationError, body: Any) -> list[Fault]:
    """Every error, with an RFC 6901 pointer into `body`, the parsed JSON that was validated."""
    entries = error.errors(include_url=False, include_input=False)
    return [_fault(entry["loc"], entry["type"], entry["msg"], entry.get("ctx", {}), body) for entry in entries]


def pointer_in(body: Any, location: Sequence[int | str]) -> str:
    """An RFC 6901 pointer to `location` in `body`.

    Steps that are not in the body are left out unless they come last and their parent is an object: Pydantic adds the
    names of a union's members, and a short form ("lenet") has no fields to point at.
    """
    steps: list[str] = []
    here = body
    location = [step for step in location if not str(step).startswith("(")]  # our own names of a union's members
    for position, step in enumerate(location):
        if isinstance(here, list) and str(step).isdecimal() and int(step) < len(here):
            here = here[int(step)]
        elif isinstance(here, Mapping) and step in here:
            here = here[str(step)]
        elif not (isinstance(here, Mapping) and position == len(location) - 1):
            continue
        steps.append(escaped(str(step)))
    return "".join(f"/{step}" for step in steps)


def escaped(step: str) -> str:
    """A step as an RFC 6901 pointer has it."""
    return step.replace("~", "~0").replace("/", "~1")


def steps_of(pointer: str) -> list[str]:
    """The unescaped steps of an RFC 6901 pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _fault(location: Sequence[int | str], kind: str, message: str, context: Mapping[str, Any], body: Any) -> Fault:
    match kind:
        case "extra_forbidden":
            return Fault(pointer_in(body, location), "unknown field", "unknown_field")
        case "missing":
            return Fault(pointer_in(body, location), "required", "required")
        case "union_tag_not_found":
            return Fault(pointer_in(body, (*location, "name")), "required", "required")
        case "union_tag_invalid":
            detail = f"must be one of {context.get('expected_tags')}"
            return Fault(pointer_in(body, (*location, "name")), detail, "unknown_name")
        case "model_type" | "dict_type":
            return Fault(pointer_in(body, location), "must be an object")
    return Fault(pointer_in(body, location), plain(message))


def plain(message: str) -> str:
    """Pydantic's message in our words."""
    for pydantics, ours in _WORDS:
        message = message.replace(pydantics, ours)
    return message[:1].lower() + message[1:]
