"""The Open Inference Protocol's tensors: JSON or raw bytes, little-endian, row-major, as pixels or as files.

Sizes are compared with what came before anything is made of them.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import simdjson
from numpy.typing import NDArray

from service.predictions.instances import MOST_INSTANCES, are_pixels
from service.predictions.numbers import ERRORS, numbers_of
from service.protocols.application import unusable
from service.protocols.signature import INPUT

BYTES = "BYTES"

NUMERIC: Mapping[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

_LENGTH_BYTES = 4
"""before each element of a BYTES tensor"""


def checked_shape(shape: Any, datatype: str, channels: int) -> tuple[int, ...]:
    """(n, height, width, channels), or (n,) for files. Raises HttpError (400)."""
    if not isinstance(shape, list) or not all(type(side) is int and side > 0 for side in shape):
        raise unusable("the shape must be a list of whole numbers from 1")
    if shape[:1] and shape[0] > MOST_INSTANCES:
        raise unusable(f"there are {shape[0]} images; the limit is {MOST_INSTANCES}")
    if datatype == BYTES:
        if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
            return (shape[0],)
        raise unusable(f"the shape of {BYTES} must be [n] or [n, 1], not {_shown(shape)}: a file for each image")
    if datatype not in NUMERIC:
        raise unusable(f"cannot read {datatype[:20]}; the datatypes are {', '.join((*NUMERIC, BYTES))}")
    if len(shape) == 3 and channels == 1:
        shape = [*shape, 1]
    if len(shape) != 4 or shape[3] != channels:
        raise unusable(f"the shape must be [n, height, width, {channels}], not {_shown(shape)}")
    return tuple(shape)


def binary_pixels(data: memoryview, shape: Sequence[int], datatype: str) -> NDArray[Any]:
    """Raises HttpError (400)."""
    dtype = NUMERIC[datatype]
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(data):
        raise unusable(f"{datatype} of shape {_shown(shape)} takes {needed} bytes; {len(data)} came")
    return _pixels(np.frombuffer(data, dtype).reshape(shape))


def json_pixels(data: Any, shape: Sequence[int], datatype: str) -> NDArray[Any]:
    """Nested or flat. Raises HttpError (400)."""
    if not isinstance(data, simdjson.Array):
        raise unusable("data must be a list of numbers")
    whole = NUMERIC[datatype].kind != "f"
    try:
        numbers = numbers_of(data, whole=whole)
    except ERRORS:
        raise unusable(f"data must hold nothing but {'whole ' if whole else ''}numbers, as {datatype} does") from None
    if numbers.size != math.prod(shape):
        raise unusable(f"the shape {_shown(shape)} means {math.prod(shape)} numbers; data has {numbers.size}")
    return _pixels(numbers.reshape(shape))


def binary_files(data: memoryview, count: int) -> list[bytes]:
    """Raises HttpError (400)."""
    files: list[bytes] = []
    start = 0
    while start < len(data) and len(files) < count:
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(data[start:begin], "little")
        if start > len(data):
            raise unusable(f"element {len(files)} of the {BYTES} tensor ends after the body does")
        files.append(bytes(data[begin:start]))
    if len(files) != count or start != len(data):
        raise unusable(f"the {BYTES} tensor does not hold the {count} elements of its shape and nothing more")
    return files


def json_files(data: Any, count: int) -> list[bytes]:
    """Files in base64, because JSON holds only text. Raises HttpError (400)."""
    texts = _flat(data) if isinstance(data, simdjson.Array) and len(data) == count else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise unusable(f"data must be a list of {count} texts: a file in base64 for each image")
    try:
        return [base64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError) as error:
        raise unusable(f"data is not base64: {error}") from None


def _flat(data: simdjson.Array) -> list[Any]:
    """Of shape [n] or [n, 1]."""
    return [item[0] if isinstance(item, simdjson.Array) and len(item) == 1 else item for item in data]


def _pixels(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers of a byte as they are, all others as float32. The copy is aligned, which a piece of a body is not."""
    if values.dtype == np.uint8:
        return values
    if not are_pixels(values):
        raise unusable(f"{INPUT} has values from {values.min():g} to {values.max():g}; pixels are 0 to 255")
    return values.astype(np.float32)


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
