"""A JSON body of raw pixel values, {"instances": [...]}, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from core.errors import Fault, InvalidInput
from core.faults import escaped
from service.predictions.numbers import only_array
from service.problems import HttpError

Tensor = NDArray[np.uint8] | NDArray[np.float32]
"""Pixel values 0-255 of one image, (height, width, channels): whole numbers or not."""

MOST_INSTANCES = 1024
MOST_FAULTS = 20


def parse_instances(body: bytes, channels: int) -> Sequence[Tensor] | NDArray[np.float32]:
    """The images, each of any height and width. With one channel the innermost brackets may be left out.

    Raises HttpError (400) when the body is not JSON, InvalidInput with every fault when it is not such images.
    """
    images = regular_images(body, "instances", channels)
    return _checked(body, channels) if images is None else images


def regular_images(body: bytes, field: str, channels: int) -> NDArray[np.float32] | None:
    """The images of the usual body, {field: images of one size}, read fast; None for any other, good or bad."""
    numbers = only_array(body, field)
    if numbers is None:
        return None
    if channels == 1 and numbers.ndim == 3:
        numbers = numbers[..., np.newaxis]
    if numbers.ndim != 4 or numbers.shape[3] != channels or len(numbers) > MOST_INSTANCES:
        return None
    return numbers.astype(np.float32) if are_pixels(numbers) else None


def are_pixels(numbers: NDArray[Any]) -> bool:
    """Whether there are any, and all are 0 to 255; not a number is not."""
    return numbers.size > 0 and bool(numbers.min() >= 0 and numbers.max() <= 255)


def _checked(body: bytes, channels: int) -> list[Tensor]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "malformed_json", f"the body is not JSON: {error}") from None
    _refuse(_document_faults(document))
    return read_images(document["instances"], "instances", channels)


def read_images(images: Any, field: str, channels: int) -> list[Tensor]:
    """The images of a parsed body's field. Raises InvalidInput with every fault."""
    _refuse(_list_faults(images, field))
    faults: list[Fault] = []
    tensors: list[Tensor] = []
    for position, image in enumerate(images):
        try:
            tensors.append(_tensor(image, channels))
        except _UnusableError as error:
            faults.append(Fault(f"/{field}", f"{field.removesuffix('s')} {position} {error}"))
            if len(faults) == MOST_FAULTS:
                break
    _refuse(faults)
    return tensors


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise InvalidInput(f"the body cannot be used: {faults[0].detail}", faults)


def _document_faults(document: Any) -> list[Fault]:
    if not isinstance(document, dict):
        return [Fault("", 'must be an object: {"instances": [...]}')]
    faults = [
        Fault("/" + escaped(name), "unknown field", "unknown_field")
        for name in list(document)[:MOST_FAULTS]
        if name != "instances"
    ]
    if "instances" not in document:
        faults.append(Fault("/instances", "required", "required"))
    else:
        faults += _list_faults(document["instances"], "instances")
    return faults


def _list_faults(images: Any, field: str) -> list[Fault]:
    if not isinstance(images, list) or not images:
        return [Fault(f"/{field}", "must be a list of at least one image")]
    if len(images) > MOST_INSTANCES:
        return [Fault(f"/{field}", f"has {len(images)} images; the limit is {MOST_INSTANCES}")]
    return []


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
    if not are_pixels(numbers):
        raise _UnusableError(f"has values from {numbers.min():g} to {numbers.max():g}; pixels are 0 to 255")
    return numbers.astype(np.float32)
