"""From encoded pictures to pixels: the one function that imports, training and predictions share.

A picture is PNG, JPEG or WebP by its first bytes; those three decoders are called directly, so that no other of
Pillow's can be reached and a size is judged from the header, before anything is decoded. What a network sees:

- the first frame of an animation, turned upright by its EXIF orientation;
- transparency laid over white, as a page would show it;
- 16-bit samples by their upper 8 bits, palettes and CMYK as RGB, luma (ITU-R 601) where grayscale is asked for;
- the whole picture, squeezed to height x width with an antialiased bilinear filter; untouched when it fits already.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from core.errors import InvalidImage

# Of broken metadata in good pictures; the sender is not there to read it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Pixels = NDArray[np.uint8]
"""(height, width, channels), 0-255."""

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


def is_picture(data: bytes) -> bool:
    """Whether `data` begins like a format that is accepted."""
    return _decoder(data) is not None


def decode_image(data: bytes, *, max_pixels: int) -> Image.Image:
    """The picture in `data`, upright and opaque, in mode L or RGB. Raises InvalidImage."""
    return load_image(open_image(data, max_pixels=max_pixels))


def open_image(data: bytes, *, max_pixels: int) -> ImageFile:
    """Reads the header only: `size` is known, no pixel is decoded. Raises InvalidImage."""
    decoder = _decoder(data)
    if decoder is None:
        raise InvalidImage("the bytes are not a PNG, JPEG or WebP image")
    try:
        image = decoder(BytesIO(data))
    except Image.DecompressionBombError:
        raise InvalidImage(f"the image claims far more pixels than the limit of {max_pixels}") from None
    except _DAMAGE as error:
        raise InvalidImage(f"the {decoder.format} image is truncated or damaged: {error}") from None
    width, height = image.size
    if width * height > max_pixels:
        raise InvalidImage(f"the image claims {width} x {height} pixels; the limit is {max_pixels} pixels")
    if image.info.get("progressive") and data.count(b"\xff\xda") > MOST_SCANS:
        raise InvalidImage(f"the JPEG image has more than {MOST_SCANS} scans")
    return image


def load_image(image: ImageFile) -> Image.Image:
    """Decodes what open_image opened, upright and opaque, in mode L or RGB. Raises InvalidImage."""
    try:
        image.load()
        return _opaque(_upright(image))
    except _DAMAGE as error:
        raise InvalidImage(f"the {image.format} image is truncated or damaged: {error}") from None


def to_pixels(image: Image.Image, height: int, width: int, channels: int) -> Pixels:
    """Pixels of shape (height, width, channels), read-only. `channels` is 1 (luma) or 3 (RGB)."""
    mode = {1: "L", 3: "RGB"}[channels]
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, channels)


def resize_pixels(pixels: Pixels, height: int, width: int, channels: int) -> Pixels:
    """The same for pixels that are at hand already, (h, w, 1 or 3): as if they had come in a PNG."""
    if pixels.shape == (height, width, channels):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return to_pixels(image, height, width, channels)


def _decoder(data: bytes) -> type[ImageFile] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImageFile
    return None


def _upright(image: Image.Image) -> Image.Image:
    if _EXIF_KEYS.isdisjoint(image.info):
        return image
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _DAMAGE:  # broken metadata does not make a good picture bad
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


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
