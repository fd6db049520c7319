"""From encoded pictures to pixels: the one function that imports, training and predictions share.

A picture is PNG, JPEG or WebP by its first bytes; those three decoders are called directly, so that no other of
Pillow's can be reached and a size is judged from the header, before anything is decoded. What a network sees:

- the first frame of an animation, turned upright by its EXIF orientation;
- transparency laid over white, as a page would show it;
- 16-bit samples by their upper 8 bits, palettes and CMYK as RGB, luma (ITU-R 601) where grayscale is asked for;
- the whole picture, squeezed to height x width with an antialiased bilinear filter; untouched when it fits already.

Turning a picture, laying it over white and reducing it go band by band: a file of a few kilobytes may hold as many
pixels as are allowed, and each copy of those on the way would cost hundreds of megabytes.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from core.errors import ImageTooLarge, InvalidImage

# Of broken metadata in good pictures; the sender is not there to read it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Of Pillow's own allocator, whose usual 16 MiB the C library does not give back to the system once such blocks have been
# freed: of each thread's largest picture, hundreds of megabytes stayed taken. Blocks of over 32 MiB always go back.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]

Pixels = NDArray[np.uint8]
"""(height, width, channels), 0-255."""

LONGEST_SIDE = 65_535
"""of a picture, as in JPEG: squeezing a line of millions of pixels would cost more memory than the picture."""

BAND_PIXELS = 1 << 20
"""of a band; a picture with fewer is taken in one"""

MOST_SCANS = 100
"""of a progressive JPEG: a scan of a few bytes can cost as much as the whole picture."""

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)
"""What Pillow's decoders raise for damaged files."""

_EXIF_KEYS = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})
_ORIENTATION = 0x0112
_UPRIGHT: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = tuple(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))
"""Rows of the upright picture are columns of the stored one."""
_FROM_THE_END = tuple(_UPRIGHT[orientation] for orientation in (3, 4, 7, 8))
"""The upright picture begins with the last row or column of the stored one."""


def is_picture(data: bytes) -> bool:
    """Whether `data` begins like a format that is accepted."""
    return _decoder(data) is not None


def open_image(data: bytes, *, max_pixels: int) -> ImageFile:
    """Reads the header only: `size` is known, no pixel is decoded. Raises InvalidImage."""
    decoder = _decoder(data)
    if decoder is None:
        raise InvalidImage("the bytes are not a PNG, JPEG or WebP image")
    try:
        image = decoder(BytesIO(data))
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"the image claims far more pixels than the limit of {max_pixels}") from None
    except _DAMAGE as error:
        raise InvalidImage(f"the {decoder.format} image is truncated or damaged: {error}") from None
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(f"the image claims {width} x {height} pixels; the limit is {max_pixels} pixels")
    if max(width, height) > LONGEST_SIDE:
        raise ImageTooLarge(f"the image claims {width} x {height} pixels; the limit of a side is {LONGEST_SIDE} pixels")
    if image.info.get("progressive") and data.count(b"\xff\xda") > MOST_SCANS:
        raise InvalidImage(f"the JPEG image has more than {MOST_SCANS} scans")
    return image


def excessive_claim(head: bytes, *, max_pixels: int) -> str | None:
    """What is too large about a picture that begins with `head`; None where its size is right or not told there."""
    try:
        open_image(head, max_pixels=max_pixels)
    except ImageTooLarge as error:
        return error.detail
    except InvalidImage:
        return None
    return None


def load_image(image: ImageFile) -> Image.Image:
    """Decodes what open_image opened, upright and opaque, in mode L or RGB. Raises InvalidImage."""
    try:
        image.load()
        if image.mode in ("L", "RGB") and _turn(image) is None and not image.has_transparency_data:
            return image
    except _DAMAGE as error:
        raise _damaged(image, error) from None
    return _assembled(image, lambda band: band)


def reduced_image(image: ImageFile, longest: int) -> Image.Image:
    """Decodes what open_image opened as load_image does, with its longest side at most `longest`. Raises InvalidImage.

    Datasets store pictures so. Predictions do the same before they squeeze one, or they would see other pixels.
    """
    side = max(image.size)
    if side <= longest:
        return load_image(image)
    narrow = _assembled(image, lambda band: _resized(band, _scaled(band.width, longest, side), band.height))
    return _resized(narrow, narrow.width, _scaled(narrow.height, longest, side))


def reduce_image(image: Image.Image, longest: int) -> Image.Image:
    """The same for a picture that is decoded already.

    Rows first and columns then, as bands have to do it: in one step Pillow takes the order that it finds faster, and
    rounds differently.
    """
    side = max(image.size)
    if side <= longest:
        return image
    narrow = _resized(image, _scaled(image.width, longest, side), image.height)
    return _resized(narrow, narrow.width, _scaled(narrow.height, longest, side))


def picture_pixels(image: ImageFile, height: int, width: int, channels: int, longest: int | None = None) -> Pixels:
    """What to_pixels makes of what open_image opened. Raises InvalidImage.

    `longest` is the side that the network's dataset was reduced to, None for one that was not.
    """
    opened = load_image(image) if longest is None else reduced_image(image, longest)
    return to_pixels(opened, height, width, channels)


def to_pixels(image: Image.Image, height: int, width: int, channels: int) -> Pixels:
    """Pixels of shape (height, width, channels), read-only. `channels` is 1 (luma) or 3 (RGB)."""
    mode = {1: "L", 3: "RGB"}[channels]
    image = _resized(image if image.mode == mode else image.convert(mode), width, height)
    return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, channels)


def resize_pixels(pixels: Pixels, height: int, width: int, channels: int, longest: int | None = None) -> Pixels:
    """The same for pixels that are at hand already, (h, w, 1 or 3): as if they had come in a PNG."""
    large = longest is not None and max(pixels.shape[:2]) > longest
    if pixels.shape == (height, width, channels) and not large:
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return to_pixels(image if longest is None else reduce_image(image, longest), height, width, channels)


def _decoder(data: bytes) -> type[ImageFile] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImageFile
    return None


def _assembled(image: ImageFile, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The bands of a picture, each changed, below each other."""
    bands = _bands(image)
    first, height = next(bands)
    first = change(first)
    if first.height == height:
        return first
    whole = Image.new(first.mode, (first.width, height))
    whole.paste(first)
    top = first.height
    for band, _ in bands:
        whole.paste(change(band), (0, top))
        top += band.height
    return whole


def _bands(image: ImageFile) -> Iterator[tuple[Image.Image, int]]:
    """The picture from top to bottom, upright and opaque, each band with the height of the whole. Raises InvalidImage."""
    try:
        image.load()
        turn = _turn(image)
        width, height = image.size[::-1] if turn in _SIDEWAYS else image.size
        rows = height if width * height <= BAND_PIXELS else max(1, BAND_PIXELS // width)
        for top in range(0, height, rows):
            yield _opaque(_upright_rows(image, turn, top, min(top + rows, height))), height
    except _DAMAGE as error:
        raise _damaged(image, error) from None


def _damaged(image: ImageFile, error: Exception) -> InvalidImage:
    return InvalidImage(f"the {image.format} image is truncated or damaged: {error}")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the picture upright."""
    if _EXIF_KEYS.isdisjoint(image.info):
        return None
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _DAMAGE:  # broken metadata does not make a good picture bad
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _upright_rows(image: Image.Image, turn: Image.Transpose | None, top: int, bottom: int) -> Image.Image:
    """Rows top..bottom of the upright picture."""
    width, height = image.size
    along = width if turn in _SIDEWAYS else height
    start, end = (along - bottom, along - top) if turn in _FROM_THE_END else (top, bottom)
    rows = image
    if end - start < along:
        rows = image.crop((start, 0, end, height) if turn in _SIDEWAYS else (0, start, width, end))
    return rows if turn is None else rows.transpose(turn)


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def _scaled(length: int, longest: int, side: int) -> int:
    """`length` in a picture whose longest side is brought from `side` to `longest`."""
    return max(1, round(length * longest / side))


def _opaque(image: Image.Image) -> Image.Image:
    """In mode L or RGB, without transparency."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(layer, mask=layer)
        return page
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")
