"""The body of an Open Inference Protocol request: JSON, and after it the tensors that come as raw bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import simdjson
from numpy.typing import NDArray

from service.predictions.numbers import ERRORS
from service.protocols.application import unusable
from service.protocols.signature import INPUT, OUTPUTS
from service.protocols.tensors import BYTES, binary_files, binary_pixels, checked_shape, json_files, json_pixels

SHARED_MEMORY = "shared_memory_region"

MOST_FIELDS = 64
"""of an object"""

MOST_SIDES = 8
"""of a shape, to be shown at least in the refusal"""


class Output(NamedTuple):
    """A tensor that is asked for. `classes`: so many of the likeliest as texts, 0 for all as numbers."""

    name: str
    binary: bool
    classes: int = 0


class InferRequest(NamedTuple):
    id: str | None
    images: NDArray[Any] | list[bytes]
    """pixels 0-255, (n, height, width, channels), or pictures in files"""
    outputs: Sequence[Output]


_ALL = {binary: tuple(Output(name, binary) for name in OUTPUTS) for binary in (False, True)}


def parse_infer(body: bytes, header_length: bytes | None, channels: int) -> InferRequest:
    """`header_length`: of the JSON, where tensors follow it. Raises HttpError (400)."""
    end = len(body) if header_length is None else _length(header_length, len(body))
    document = _document(body[:end])
    own_id = document.get("id")
    if own_id is not None and not isinstance(own_id, str):
        raise unusable("id must be a text")
    images = _images(_input(document.get("inputs")), memoryview(body)[end:], channels)
    parameters = _object(document.get("parameters"), "parameters")
    return InferRequest(own_id, images, _outputs(document.get("outputs"), _flag(parameters, "binary_data_output")))


def _length(header_length: bytes, most: int) -> int:
    length = int(header_length) if header_length.isdigit() and len(header_length) < 16 else most + 1
    if length > most:
        raise unusable(f"Inference-Header-Content-Length must be a whole number up to the body's length, {most}")
    return length


def _document(text: bytes) -> dict[str, Any]:
    try:
        document: Any = simdjson.Parser().parse(text)
    except ERRORS as error:
        raise unusable(f"the body is not JSON: {error}") from None
    if not isinstance(document, simdjson.Object):
        raise unusable('the body must be an object: {"inputs": [...]}')
    return _object(document, "the body")


def _object(value: Any, what: str) -> dict[str, Any]:
    """Lists and objects in it are simdjson's still, so that their numbers become no Python objects. None is empty."""
    if value is None:
        return {}
    if not isinstance(value, simdjson.Object):
        raise unusable(f"{what} must be an object")
    if len(value) > MOST_FIELDS:  # looking one up goes through all
        raise unusable(f"{what} has more than {MOST_FIELDS} fields")
    try:
        return {name: value[name] for name in value}
    except KeyError:  # simdjson looks names up as C does
        raise unusable(f"{what} has a field with a NUL character in its name") from None


def _flag(parameters: dict[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise unusable(f"{name} must be true or false")
    return value


def _input(inputs: Any) -> dict[str, Any]:
    if not isinstance(inputs, simdjson.Array) or len(inputs) != 1:
        raise unusable(f"inputs must be a list of one tensor, {INPUT!r}")
    tensor = _object(inputs[0], "an input")
    if tensor.get("name") != INPUT:
        raise unusable(f"the model's input is called {INPUT!r}, not {str(tensor.get('name'))[:100]!r}")
    return tensor


def _images(tensor: dict[str, Any], after: memoryview, channels: int) -> NDArray[Any] | list[bytes]:
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str):
        raise unusable("datatype must be a text, like FP32")
    sides = list(shape) if isinstance(shape, simdjson.Array) and len(shape) <= MOST_SIDES else None
    shape = checked_shape(sides, datatype, channels)
    parameters = _object(tensor.get("parameters"), "an input's parameters")
    if SHARED_MEMORY in parameters:
        raise unusable("tensors in shared memory are not supported")
    size = parameters.get("binary_data_size")
    if size is None:
        if after:
            raise unusable(f"{len(after)} bytes follow the JSON and belong to no tensor")
        data = tensor.get("data")
        return json_files(data, shape[0]) if datatype == BYTES else json_pixels(data, shape, datatype)
    if size != len(after) or "data" in tensor:
        raise unusable(f"binary_data_size is {str(size)[:20]}, and {len(after)} bytes follow the JSON")
    return binary_files(after, shape[0]) if datatype == BYTES else binary_pixels(after, shape, datatype)


def _outputs(outputs: Any, binary: bool) -> Sequence[Output]:
    """`binary`: what an output is that does not say."""
    if outputs is None:
        return _ALL[binary]
    if not isinstance(outputs, simdjson.Array) or len(outputs) > len(OUTPUTS):
        raise unusable(f"outputs must be a list of up to {len(OUTPUTS)}")
    asked = [_output(_object(entry, "an output"), binary) for entry in outputs]
    if len({output.name for output in asked}) != len(asked):
        raise unusable("an output is asked for twice")
    return asked or _ALL[binary]


def _output(entry: dict[str, Any], binary: bool) -> Output:
    name = entry.get("name")
    if name not in OUTPUTS:
        raise unusable(f"there is no output {str(name)[:100]!r}; there are {' and '.join(OUTPUTS)}")
    parameters = _object(entry.get("parameters"), "an output's parameters")
    if SHARED_MEMORY in parameters:
        raise unusable("tensors in shared memory are not supported")
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise unusable("classification must be a whole number")
    return Output(name, _flag(parameters, "binary_data", binary), classes)
