"""The body of a predict request in TensorFlow Serving's row or column format."""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

import orjson

from service.predictions.instances import MOST_INSTANCES, read_images, regular_images
from service.predictions.pictures import Fit, all_fitted, encoded, fits
from service.protocols.application import Images, unusable
from service.protocols.signature import INPUT
from service.protocols.tensorflow_answers import SIGNATURE

ROWS, COLUMNS = "instances", "inputs"

_FIELDS = {ROWS, COLUMNS, "signature_name"}


class Query(NamedTuple):
    images: Images
    rows: bool
    """whether the answer is to be by image, as the request was"""


def parse_predict(body: bytes, fit: Fit, max_pixels: int) -> Query:
    """Raises HttpError (400), InvalidInput."""
    for field in (ROWS, COLUMNS):
        images = regular_images(body, field, fit[2])
        if images is not None:
            return Query(images if fits(images.shape[1:], fit) else all_fitted(images, fit), field == ROWS)
    document = _document(body)
    field = ROWS if ROWS in document else COLUMNS
    given = _rows(document[ROWS]) if field == ROWS else _column(document[COLUMNS])
    if isinstance(given, list) and any(isinstance(image, dict) for image in given):
        if len(given) > MOST_INSTANCES:
            raise unusable(f"{field} has {len(given)} images; the limit is {MOST_INSTANCES}")
        files = [_file(image, f"{field} {position}") for position, image in enumerate(given)]
        return Query(encoded(files, fit, max_pixels), field == ROWS)
    return Query(all_fitted(read_images(given, field, fit[2]), fit), field == ROWS)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise unusable(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise unusable('the body must be an object: {"instances": [...]} or {"inputs": ...}')
    unknown = sorted(document.keys() - _FIELDS)
    if unknown:
        raise unusable(f"unknown field {unknown[0][:100]!r}; known are instances, inputs and signature_name")
    if (ROWS in document) == (COLUMNS in document):
        raise unusable("the body must have one of instances (row format) and inputs (column format), not both")
    signature = document.get("signature_name", SIGNATURE)
    if signature not in (SIGNATURE, ""):
        raise unusable(f"there is no signature {signature!r}; the model has {SIGNATURE!r}")
    return document


def _rows(instances: Any) -> Any:
    """Each instance may name the input."""
    if not isinstance(instances, list):
        return instances
    return [_unnamed(image, f"instances {position}") for position, image in enumerate(instances)]


def _column(inputs: Any) -> Any:
    return _unnamed(inputs, "inputs")


def _unnamed(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or "b64" in value:
        return value
    if value.keys() != {INPUT}:
        names = ", ".join(sorted(value))[:100] or "nothing"
        raise unusable(f"{where} names {names}; the model has one input, {INPUT!r}")
    return value[INPUT]


def _file(image: Any, where: str) -> bytes:
    if not isinstance(image, dict) or image.keys() != {"b64"} or not isinstance(image["b64"], str):
        raise unusable(f'{where} is not {{"b64": "..."}} as others are')
    try:
        return base64.b64decode(image["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise unusable(f"{where} is not base64: {error}") from None
