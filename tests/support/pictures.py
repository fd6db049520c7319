"""Small pictures and folders of them, zipped as a user would."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

from core.images import load_image, open_image

SHAPES = ("disc", "square", "stripes")


def picture(kind: str, seed: int) -> bytes:
    """A coloured shape of some size, as PNG."""
    noise = np.random.default_rng([SHAPES.index(kind), seed])
    height, width = (int(side) for side in noise.integers(24, 60, 2))
    down, across = np.mgrid[:height, :width]
    inside = {
        "disc": (down - height / 2) ** 2 + (across - width / 2) ** 2 < (min(height, width) / 3) ** 2,
        "square": (abs(down - height / 2) < height / 4) & (abs(across - width / 2) < width / 4),
        "stripes": across // max(2, width // 6) % 2 == 0,
    }[kind]
    pixels = noise.integers(0, 90, (height, width, 3)).astype(np.uint8)
    pixels[inside] += noise.integers(100, 160, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def zip_of_shapes(per_class: int, extra: dict[str, bytes] | None = None, first: int = 0) -> bytes:
    """`per_class` pictures in a folder for each shape, and `extra` members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for kind in SHAPES:
            for number in range(first, first + per_class):
                archive.writestr(f"shapes/{kind}/{number}.png", picture(kind, number))
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return content.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A few bytes whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def decode_image(data: bytes, *, max_pixels: int) -> Image.Image:
    """The picture in `data`, upright and opaque, in mode L or RGB. Raises InvalidImage."""
    return load_image(open_image(data, max_pixels=max_pixels))
