"""Where in a JSON text each of its values stands, so that a fault's pointer can be shown as a line of the file."""

from __future__ import annotations

import json

_SPACE = " \t\r\n"


def line_of(text: str, pointer: str) -> int | None:
    """The line (from 1) of the value at an RFC 6901 pointer, or of the closest thing around it; None where that is the whole.

    `text` is JSON that has been read before. Of an object's member, the line of its key.
    """
    starts = _starts(text)
    while pointer:
        if pointer in starts:
            return text.count("\n", 0, starts[pointer]) + 1
        pointer = pointer.rpartition("/")[0]
    return None


def _starts(text: str) -> dict[str, int]:
    """The offset of each value by its pointer; of members, of their keys."""
    starts: dict[str, int] = {}
    scan = json.JSONDecoder().raw_decode

    def value(at: int, pointer: str) -> int:
        """Notes what the value at `at` holds; gives the offset behind it."""
        if text[at] == "{":
            return members(at, pointer)
        if text[at] == "[":
            return entries(at, pointer)
        return scan(text, at)[1]

    def members(at: int, pointer: str) -> int:
        at = _after_space(text, at + 1)
        while text[at] != "}":
            key, behind = scan(text, at)
            here = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            starts[here] = at
            at = value(_after_space(text, _after_space(text, behind) + 1), here)
            at = _after_comma(text, at)
        return at + 1

    def entries(at: int, pointer: str) -> int:
        at, number = _after_space(text, at + 1), 0
        while text[at] != "]":
            starts[f"{pointer}/{number}"] = at
            at = _after_comma(text, value(at, f"{pointer}/{number}"))
            number += 1
        return at + 1

    value(_after_space(text, 0), "")
    return starts


def _after_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _after_comma(text: str, at: int) -> int:
    at = _after_space(text, at)
    return _after_space(text, at + 1) if text[at] == "," else at
