"""JSON arrays of numbers, read without making a Python object of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import simdjson
from numpy.typing import NDArray

ERRORS = (ValueError, RuntimeError, TypeError, KeyError)
"""What simdjson raises for what is no JSON, or other JSON than was asked for."""

_IN_NUMBERS = b"0123456789+-.eE \t\r\n"
_DEEPEST = 8


def numbers_of(array: simdjson.Array, *, whole: bool = False) -> NDArray[np.float64]:
    """All numbers of an array and the arrays in it, in order. Raises ERRORS for others, or not `whole` where asked."""
    if whole:
        return np.frombuffer(array.as_buffer(of_type="i"), np.int64).astype(np.float64)
    return np.frombuffer(array.as_buffer(of_type="d"), np.float64)


def only_array(body: bytes, field: str) -> NDArray[np.float64] | None:
    """The array of a body that is {field: nested lists of numbers} and not ragged; None for any other, good or bad.

    What is left of such a body without the characters of numbers tells its shape, and that every list has it; that they
    are numbers tells the parser.
    """
    opening = b'{"%s":' % field.encode()
    bare = opening.translate(None, _IN_NUMBERS)
    skeleton = body.translate(None, _IN_NUMBERS)
    if not skeleton.startswith(bare) or not skeleton.endswith(b"]}"):
        return None
    shape = _shape(skeleton[len(bare) : -1])
    if shape is None:
        return None
    try:
        document: Any = simdjson.Parser().parse(body)
        return numbers_of(document[field]).reshape(shape)
    except ERRORS:
        return None


def _shape(brackets: bytes) -> tuple[int, ...] | None:
    """Of nested lists of which only brackets and commas are left; None for ragged ones."""
    depth = len(brackets) - len(brackets.lstrip(b"["))
    if depth > _DEEPEST:
        return None
    shape: list[int] = []
    inner = b""
    for level in range(1, depth + 1):
        first_ends = brackets.find(b"]" * level) + level - 1
        length = first_ends - (depth - level) - 1
        shape.insert(0, (length + 1) // (len(inner) + 1))
        inner = b"[" + b",".join([inner] * shape[0]) + b"]"
    return tuple(shape) if inner == brackets else None
