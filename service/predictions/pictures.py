"""What a body holds: pictures as the network takes them, whatever form they came in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from core.errors import Fault, InvalidImage, InvalidInput
from core.images import LONGEST_SIDE, Pixels, is_picture, open_image, picture_pixels, resize_pixels
from service.predictions.instances import Tensor, parse_instances
from service.predictions.multipart import file_parts
from service.problems import HttpError

Fit = tuple[int, int, int, int | None]
"""What pictures are made to fit: height, width, channels, and the side that larger ones are reduced to before."""

PICTURES_OF_ALL_FILES = 4
"""A request's files may have as many pixels together as this many of the largest single picture."""


class Medium(Enum):
    """The forms of a body."""

    IMAGE = "image"
    JSON = "json"
    MULTIPART = "multipart"


class Contents(NamedTuple):
    """The pictures of a body, decoded one at a time as they are asked for, and what that will cost."""

    pictures: Iterator[Tensor]
    images: int
    """how many"""
    pixels: int = 0
    """of all pictures that have to be decoded"""
    largest: int = 0
    """pixels of the largest one"""


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


def contents_of(medium: Medium, body: bytes, content_type: bytes, fit: Fit, max_pixels: int) -> Contents:
    """What the body holds, for a network of that input. No picture is decoded yet, but the sizes are known.

    Raises what the forms' own readers raise; `pictures` raises InvalidImage.
    """
    match medium:
        case Medium.IMAGE:
            image = open_image(body, max_pixels=max_pixels)
            pixels = image.size[0] * image.size[1]
            return Contents(_decoded(deque([image]), fit), 1, pixels, pixels)
        case Medium.JSON:
            return all_fitted(parse_instances(body, fit[2]), fit)
        case Medium.MULTIPART:
            return encoded(file_parts(body, content_type), fit, max_pixels)


def encoded(files: Iterable[bytes], fit: Fit, max_pixels: int) -> Contents:
    """Pictures in files, at least one. No picture is decoded yet, but the sizes are known. Raises InvalidImage."""
    images = _opened(files, max_pixels)
    sizes = [image.size[0] * image.size[1] for image in images]
    return Contents(_all_decoded(deque(images), fit), len(images), sum(sizes), max(sizes))


def all_fitted(images: Sequence[Tensor] | NDArray[Any], fit: Fit) -> Contents:
    """Pixels that came as numbers, each image of any size. Taking them from `pictures` raises InvalidInput."""
    return Contents((fitted(image, fit) for image in images), len(images))


def fits(shape: Sequence[int], fit: Fit) -> bool:
    """Whether an image of that shape is taken as it is."""
    longest = fit[3]
    return tuple(shape) == fit[:3] and (longest is None or max(fit[:2]) <= longest)


def fitted(instance: Tensor, fit: Fit) -> Tensor:
    """As it is when it has the network's shape, else rounded to whole pixel values and resized like any picture."""
    if fits(instance.shape, fit):
        return instance
    height, width, _ = instance.shape
    if max(height, width) > LONGEST_SIDE:
        detail = f"an image has {height} x {width} pixels; the limit of a side is {LONGEST_SIDE}"
        raise InvalidInput(f"the body cannot be used: {detail}", [Fault("/instances", detail)])
    pixels: Pixels = instance if instance.dtype == np.uint8 else np.rint(instance).astype(np.uint8)  # type: ignore[assignment]
    return resize_pixels(pixels, *fit)


def _opened(files: Iterable[bytes], max_pixels: int) -> list[ImageFile]:
    """Headers only. Raises InvalidImage with a fault for each file, or when all together are too large."""
    images: list[ImageFile] = []
    faults: list[Fault] = []
    pixels, most = 0, PICTURES_OF_ALL_FILES * max_pixels
    for number, file in enumerate(files):
        try:
            images.append(open_image(file, max_pixels=max_pixels))
        except InvalidImage as error:
            faults.append(Fault(f"/file/{number}", error.detail))
            continue
        pixels += images[-1].size[0] * images[-1].size[1]
        if pixels > most:
            faults.append(Fault("/file", f"the files claim more than {most} pixels together, the limit"))
            break
    _refuse(faults)
    return images


def _all_decoded(images: deque[ImageFile], fit: Fit) -> Iterator[Tensor]:
    """The faults of all are told after the last."""
    faults: list[Fault] = []
    for number in range(len(images)):
        try:
            yield from _decoded(deque([images.popleft()]), fit)
        except InvalidImage as error:
            faults.append(Fault(f"/file/{number}", error.detail))
    _refuse(faults)


def _decoded(images: deque[ImageFile], fit: Fit) -> Iterator[Tensor]:
    """Nothing holds a picture any longer than its pixels are needed."""
    while images:
        yield picture_pixels(images.popleft(), *fit)


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise InvalidImage(f"{len(faults)} of the files cannot be used", faults)
