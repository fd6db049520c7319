"""What a body holds: pictures as the network takes them, whatever form they came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from http import HTTPStatus

import numpy as np

from core.errors import Fault, InvalidImage
from core.images import Pixels, is_picture, load_image, open_image, resize_pixels, to_pixels
from service.predictions.instances import Tensor, parse_instances
from service.predictions.multipart import file_parts
from service.problems import HttpError

InputShape = tuple[int, int, int]
"""height, width, channels"""

PICTURES_OF_ALL_FILES = 4
"""A request's files may have as many pixels together as this many of the largest single picture."""


class Medium(Enum):
    """The forms of a body."""

    IMAGE = "image"
    JSON = "json"
    MULTIPART = "multipart"


_MEDIA = {
    b"image/png": Medium.IMAGE,
    b"image/jpeg": Medium.IMAGE,
    b"image/jpg": Medium.IMAGE,
    b"image/webp": Medium.IMAGE,
    b"application/json": Medium.JSON,
    b"multipart/form-data": Medium.MULTIPART,
}
_SAYS_NOTHING = (b"", b"application/octet-stream", b"application/x-www-form-urlencoded")
"""No type, "some bytes", and what curl says of any file it sends: the bytes have to speak for themselves."""


def medium_of(content_type: bytes, body: bytes) -> Medium:
    """Raises HttpError (415)."""
    medium = _MEDIA.get(content_type)
    if medium is not None:
        return medium
    essence = content_type.partition(b";")[0].strip().lower()
    medium = _MEDIA.get(essence)
    if medium is None and essence in _SAYS_NOTHING and is_picture(body):
        return Medium.IMAGE
    if medium is None:
        given = essence.decode("latin-1") or "no Content-Type and a body that is no picture"
        detail = (
            f"cannot read {given}; send image/png, image/jpeg or image/webp, multipart/form-data with file parts, "
            "or application/json"
        )
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    return medium


def pictures_in(
    medium: Medium, body: bytes, content_type: bytes, shape: InputShape, max_pixels: int
) -> Iterator[Tensor]:
    """The body's pictures in the network's shape, decoded one at a time. Raises what the forms' own readers raise."""
    match medium:
        case Medium.IMAGE:
            yield to_pixels(load_image(open_image(body, max_pixels=max_pixels)), *shape)
        case Medium.JSON:
            yield from (fitted(instance, shape) for instance in parse_instances(body, shape[2]))
        case Medium.MULTIPART:
            yield from _from_files(file_parts(body, content_type), shape, max_pixels)


def fitted(instance: Tensor, shape: InputShape) -> Tensor:
    """As it is when it has the network's shape, else rounded to whole pixel values and resized like any picture."""
    if instance.shape == shape:
        return instance
    pixels: Pixels = instance if instance.dtype == np.uint8 else np.rint(instance).astype(np.uint8)  # type: ignore[assignment]
    return resize_pixels(pixels, *shape)


def _from_files(files: Iterable[bytes], shape: InputShape, max_pixels: int) -> Iterator[Tensor]:
    images, faults, pixels = [], [], 0
    for number, file in enumerate(files):
        try:
            image = open_image(file, max_pixels=max_pixels)
        except InvalidImage as error:
            faults.append(Fault(f"/file/{number}", error.detail))
        else:
            images.append(image)
            pixels += image.size[0] * image.size[1]
    if not faults and pixels > PICTURES_OF_ALL_FILES * max_pixels:
        faults.append(
            Fault(
                "/file", f"the files claim {pixels} pixels; the limit is {PICTURES_OF_ALL_FILES * max_pixels} together"
            )
        )
    for number, image in enumerate(() if faults else images):
        try:
            yield to_pixels(load_image(image), *shape)
        except InvalidImage as error:
            faults.append(Fault(f"/file/{number}", error.detail))
    if faults:
        raise InvalidImage(f"{len(faults)} of the files cannot be used", faults)
