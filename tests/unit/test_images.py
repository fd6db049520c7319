"""One way from a picture to pixels, whatever the picture's form."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import decode_image
from PIL import Image

from core.errors import InvalidImage
from core.images import resize_pixels, to_pixels

LIMIT = 1_000_000


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def pixels_of(data: bytes, height: int, width: int, channels: int = 3) -> list[Any]:
    result: list[Any] = to_pixels(decode_image(data, max_pixels=LIMIT), height, width, channels).tolist()
    return result


class TestForms:
    def test_a_picture_of_the_right_size_is_untouched(self) -> None:
        pixels = noise(5, 7, 3)
        assert pixels_of(encoded(Image.fromarray(pixels)), 5, 7) == pixels.tolist()

    def test_transparency_is_laid_over_white(self) -> None:
        assert pixels_of(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 0))), 1, 1) == [[[255, 255, 255]]]
        assert pixels_of(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 255))), 1, 1) == [[[0, 0, 0]]]

    def test_an_exif_orientation_is_obeyed(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
        image = Image.fromarray(np.array([[0, 255]], np.uint8))
        assert pixels_of(encoded(image, exif=exif), 2, 1, 1) == [[[0]], [[255]]]

    def test_16_bit_samples_keep_their_upper_8(self) -> None:
        image = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
        assert pixels_of(encoded(image), 1, 3, 1) == [[[0], [128], [255]]]

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_every_mode_of_png_is_read(self, mode: str, channels: int) -> None:
        assert np.array(pixels_of(encoded(Image.new("RGB", (4, 4), "red").convert(mode)), 2, 2, channels)).shape == (
            2,
            2,
            channels,
        )

    def test_cmyk_jpeg_and_webp_are_read(self) -> None:
        for data in (encoded(Image.new("CMYK", (4, 4)), "JPEG"), encoded(Image.new("RGB", (4, 4)), "WEBP")):
            assert np.array(pixels_of(data, 2, 2)).shape == (2, 2, 3)


class TestResizing:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.sampled_from([1, 3]))
    def test_a_datasets_pixels_become_what_their_png_becomes(
        self, height: int, width: int, own: int, wanted: int
    ) -> None:
        pixels = noise(height, width, own)
        image = Image.fromarray(pixels[..., 0] if own == 1 else pixels)
        assert resize_pixels(pixels, 16, 24, wanted).tolist() == pixels_of(encoded(image), 16, 24, wanted)


class TestRefused:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"text",
            b"GIF89a" + b"\0" * 50,
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"RIFF\0\0\0\0WEBP",
            b"BM" + b"\0" * 60,
        ],
        ids=["nothing", "text", "gif", "png head", "jpeg head", "webp head", "bmp"],
    )
    def test_other_bytes(self, data: bytes) -> None:
        with pytest.raises(InvalidImage):
            decode_image(data, max_pixels=LIMIT)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_truncated_files(self, kind: str) -> None:
        whole = encoded(Image.fromarray(noise(64, 64, 3)), kind)
        for part in (20, len(whole) // 2, len(whole) - 30):
            with pytest.raises(InvalidImage):
                decode_image(whole[:part], max_pixels=LIMIT)

    def test_a_size_past_the_limit_is_told_from_the_header(self) -> None:
        header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + header
        data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        with pytest.raises(InvalidImage, match=r"30000 x 30000|far more pixels"):
            decode_image(data + b"\0\0\0\0IDAT", max_pixels=LIMIT)

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 600), st.integers(0, 255), st.sampled_from(["PNG", "JPEG", "WEBP"]))
    def test_a_damaged_byte_never_causes_another_error(self, position: int, value: int, kind: str) -> None:
        data = bytearray(encoded(Image.fromarray(noise(12, 12, 3)), kind))
        data[position % len(data)] = value
        with suppress(InvalidImage):
            to_pixels(decode_image(bytes(data), max_pixels=LIMIT), 8, 8, 3)
