"""The query parameters of a predict request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from core.errors import Fault, InvalidQuery

DEFAULT_TOP = 5
MOST_TOP = 1000
LONGEST_NAME = 255
LAST_VERSION = 2**31 - 1


@dataclass(frozen=True)
class PredictQuery:
    """`dataset` names a view; `version` None means the best one; `top` is how many labels to give for each image."""

    dataset: str | None = None
    version: int | None = None
    top: int = DEFAULT_TOP


@lru_cache(maxsize=256)
def parse_query(query_string: bytes) -> PredictQuery:
    """Raises InvalidQuery with every fault."""
    if not query_string:
        return PredictQuery()
    faults: list[Fault] = []
    given: dict[str, str] = {}
    try:
        pairs = parse_qsl(query_string.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidQuery("the query is not percent-encoded UTF-8") from None
    for name, value in pairs:
        if name in given:
            faults.append(Fault(f"/query/{name}", "given twice"))
        given[name] = value
    faults += [
        Fault(f"/query/{name}", "unknown parameter; known are dataset, version and top", "unknown_parameter")
        for name in given.keys() - {"dataset", "version", "top"}
    ]
    query = PredictQuery(
        dataset=_name(given.get("dataset"), faults),
        version=_number("version", given.get("version"), LAST_VERSION, faults),
        top=_number("top", given.get("top"), MOST_TOP, faults) or DEFAULT_TOP,
    )
    if faults:
        raise InvalidQuery(
            "the query has a fault" if len(faults) == 1 else f"the query has {len(faults)} faults", faults
        )
    return query


def _name(value: str | None, faults: list[Fault]) -> str | None:
    if value is not None and not 0 < len(value) <= LONGEST_NAME:
        faults.append(Fault("/query/dataset", f"must have 1 to {LONGEST_NAME} characters"))
    return value


def _number(name: str, value: str | None, most: int, faults: list[Fault]) -> int | None:
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) <= len(str(most)) and 1 <= int(value) <= most:
        return int(value)
    faults.append(Fault(f"/query/{name}", f"must be a whole number from 1 to {most}"))
    return None
