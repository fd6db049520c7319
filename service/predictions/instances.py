"""A JSON body of raw pixel values, {"instances": [...]}, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from core.errors import Fault, InvalidInput
from service.problems import HttpError

Tensor = NDArray[np.uint8] | NDArray[np.float32]
"""Pixel values 0-255 of one image, (height, width, channels): whole numbers or not."""

MOST_INSTANCES = 1024
MOST_FAULTS = 20
_OPENING = b'{"instances":'


def parse_instances(body: bytes, channels: int) -> Sequence[Tensor] | NDArray[np.uint8]:
    """The images, each of any height and width. With one channel the innermost brackets may be left out.

    Raises HttpError (400) when the body is not JSON, InvalidInput with every fault when it is not such images.
    """
    images = _whole_numbers(body, channels)
    return _checked(body, channels) if images is None else images


def _whole_numbers(body: bytes, channels: int) -> NDArray[np.uint8] | None:
    """The usual body, read without making a Python object of each number; None for any other, good or bad.

    Numbers and shape are guessed from the bytes. The guess is right if, written as JSON again, it is the body.
    """
    text = _without_spaces(body)
    images = _guess(text, channels)
    if images is None or orjson.dumps({"instances": images}, option=orjson.OPT_SERIALIZE_NUMPY) != text:
        return None
    return images if images.ndim == 4 else images[..., np.newaxis]


def _without_spaces(body: bytes) -> bytes:
    """Python's json puts a space after each comma and colon. Other spaces stay, and fail the comparison."""
    if b" " not in body:
        return body
    text = body.translate(None, b" ")
    return text if len(body) - len(text) == body.count(b", ") + body.count(b": ") else body


def _guess(text: bytes, channels: int) -> NDArray[np.uint8] | None:
    """(n, height, width, channels) or (n, height, width): sides as the first brackets show them."""
    if not text.startswith(_OPENING):
        return None
    start = len(_OPENING)
    innermost = text.count(b",", start, text.find(b"]", start)) + 1
    row: tuple[int, ...]
    if text.startswith(b"[[[[", start):
        row = (text.count(b"]", start, text.find(b"]]", start)) + 1, innermost)
        count = text.count(b"]]],") + 1
    else:
        row = (innermost,)
        count = text.count(b"]],") + 1
    if (row[1:] or (1,)) != (channels,) or count > MOST_INSTANCES:
        return None
    numbers = _guess_numbers(text)
    height, rest = divmod(numbers.size, count * math.prod(row))
    return None if rest or not height else numbers.reshape(count, height, *row)


def _guess_numbers(text: bytes) -> NDArray[np.uint8]:
    """Each run of digits as a number; wrong for more than three."""
    digits = np.frombuffer(text, np.uint8) - np.uint8(ord("0"))
    is_digit = digits < 10
    last = np.flatnonzero(is_digit[:-1] > is_digit[1:])
    ones, tens, hundreds = digits[last], digits[last - 1], digits[last - 2]
    has_tens = tens < 10
    has_hundreds = has_tens & (hundreds < 10)
    numbers: NDArray[np.uint8] = ones + tens * (has_tens * np.uint8(10)) + hundreds * (has_hundreds * np.uint8(100))
    return numbers


def _checked(body: bytes, channels: int) -> list[Tensor]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "malformed_json", f"the body is not JSON: {error}") from None
    faults = _document_faults(document)
    tensors: list[Tensor] = []
    if not faults:
        for position, instance in enumerate(document["instances"]):
            try:
                tensors.append(_tensor(instance, channels))
            except _UnusableError as error:
                faults.append(Fault("/instances", f"instance {position} {error}"))
                if len(faults) == MOST_FAULTS:
                    break
    if faults:
        raise InvalidInput(f"the body cannot be used: {faults[0].detail}", faults)
    return tensors


def _document_faults(document: Any) -> list[Fault]:
    if not isinstance(document, dict):
        return [Fault("", 'must be an object: {"instances": [...]}')]
    faults = [
        Fault("/" + name.replace("~", "~0").replace("/", "~1"), "unknown field", "unknown_field")
        for name in list(document)[:MOST_FAULTS]
        if name != "instances"
    ]
    instances = document.get("instances")
    if "instances" not in document:
        faults.append(Fault("/instances", "required", "required"))
    elif not isinstance(instances, list) or not instances:
        faults.append(Fault("/instances", "must be a list of at least one image"))
    elif len(instances) > MOST_INSTANCES:
        faults.append(Fault("/instances", f"has {len(instances)} images; the limit is {MOST_INSTANCES}"))
    return faults


class _UnusableError(Exception):
    """Why an instance is no image, to be read after "instance 3 "."""


def _tensor(instance: Any, channels: int) -> Tensor:
    values: list[Any] = [instance]
    shape: list[int] = []
    for side in ("height", "width", "channels"):
        if side == "channels" and channels == 1 and isinstance(values[0], int | float):
            shape.append(1)
            break
        shape.append(_common_length(values, side))
        values = list(chain.from_iterable(values))
    if shape[2] != channels:
        raise _UnusableError(f"has {shape[2]} channels; the network takes {channels}")
    return _numbers(values).reshape(shape)


def _common_length(lists: list[Any], side: str) -> int:
    if set(map(type, lists)) != {list}:
        raise _UnusableError("is not nested as height x width x channels")
    lengths = set(map(len, lists))
    if len(lengths) > 1:
        raise _UnusableError(f"is ragged: its {side} varies from {min(lengths)} to {max(lengths)}")
    length = lengths.pop()
    if length == 0:
        raise _UnusableError(f"is empty: its {side} is 0")
    return length


def _numbers(values: list[Any]) -> NDArray[np.float32]:
    if not set(map(type, values)) <= {int, float}:
        raise _UnusableError("holds something other than numbers")
    numbers = np.array(values, np.float64)
    if not (numbers.min() >= 0 and numbers.max() <= 255):
        raise _UnusableError(f"has values from {numbers.min():g} to {numbers.max():g}; pixels are 0 to 255")
    return numbers.astype(np.float32)
