"""Large pictures are worked on in bands: the pixels are those of the whole, and cost the memory of one copy."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import decode_image
from PIL import Image, ImageOps

from core.errors import InvalidImage
from core.images import open_image, picture_pixels, reduce_image, resize_pixels, to_pixels

LIMIT = 50_000_000
FORMS = [
    ("1", {}),
    ("L", {}),
    ("L", {"transparency": 7}),
    ("LA", {}),
    ("P", {}),
    ("P", {"transparency": bytes(range(256))}),
    ("RGB", {}),
    ("RGB", {"transparency": (1, 2, 3)}),
    ("RGBA", {}),
    ("I;16", {}),
]


def picture(mode: str, height: int, width: int) -> Image.Image:
    random = np.random.default_rng(height * width)
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 2**16, (height, width), dtype=np.uint16))
    if mode == "P":
        image = Image.fromarray(random.integers(0, 256, (height, width), dtype=np.uint8), "P")
        image.putpalette(random.integers(0, 256, 768, dtype=np.uint8).tobytes())
        return image
    return Image.fromarray(random.integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA").convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def by_pillow(data: bytes) -> Image.Image:
    """Upright and opaque in plain Pillow, whole copies at every step."""
    image: Image.Image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        layer = image.convert("RGBA")
        page.paste(layer, mask=layer)
        return page.convert("RGB")
    return image if image.mode == "L" else image.convert("L" if image.mode == "1" else "RGB")


class TestPixels:
    @settings(max_examples=300, deadline=None)
    @given(
        form=st.sampled_from(FORMS),
        orientation=st.integers(0, 8),
        size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
        wanted=st.tuples(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3])),
        longest=st.sampled_from([None, 5, 25, 60]),
        band=st.sampled_from([1, 40, 300]),
    )
    def test_bands_give_what_the_whole_gives(
        self,
        form: tuple[str, dict[str, Any]],
        orientation: int,
        size: tuple[int, int],
        wanted: tuple[int, int, int],
        longest: int | None,
        band: int,
    ) -> None:
        mode, options = form
        data = encoded(picture(mode, *size), exif=turned(orientation), **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("core.images.BAND_PIXELS", band)
            decoded = decode_image(data, max_pixels=LIMIT)
            banded = picture_pixels(open_image(data, max_pixels=LIMIT), *wanted, longest)
        whole = by_pillow(data)
        assert (decoded.mode, decoded.tobytes()) == (whole.mode, whole.tobytes())
        if longest is not None:
            whole = reduce_image(whole, longest)
        assert banded.tolist() == to_pixels(whole, *wanted).tolist()

    @pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_so_they_do_for_other_formats(self, kind: str, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
        data = encoded(picture("RGB", 50, 37), kind, exif=turned(orientation))
        monkeypatch.setattr("core.images.BAND_PIXELS", 100)
        banded = picture_pixels(open_image(data, max_pixels=LIMIT), 32, 24, 3, 40)
        assert banded.tolist() == to_pixels(reduce_image(by_pillow(data), 40), 32, 24, 3).tolist()

    @settings(max_examples=60, deadline=None)
    @given(
        st.tuples(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3])), st.sampled_from([None, 5, 25, 60])
    )
    def test_a_prediction_sees_what_training_saw(self, shape: tuple[int, int, int], longest: int | None) -> None:
        """A dataset stores reduced pictures, and resizes those for a job."""
        image = picture("L" if shape[2] == 1 else "RGB", *shape[:2])
        pixels = np.asarray(image).reshape(shape)
        stored = image if longest is None else reduce_image(image, longest)
        seen = resize_pixels(np.asarray(stored).reshape(stored.height, stored.width, shape[2]), 16, 24, 1)
        assert resize_pixels(pixels, 16, 24, 1, longest).tolist() == seen.tolist()
        sent = open_image(encoded(image), max_pixels=LIMIT)
        assert picture_pixels(sent, 16, 24, 1, longest).tolist() == seen.tolist()

    def test_a_truncated_one_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("core.images.BAND_PIXELS", 100)
        data = encoded(picture("RGB", 64, 64))
        with pytest.raises(InvalidImage):
            picture_pixels(open_image(data[: len(data) // 2], max_pixels=LIMIT), 8, 8, 3, 32)


class TestMemory:
    @pytest.mark.parametrize(
        ("mode", "options", "most"),
        [
            ("P", {"transparency": bytes(256)}, 90),
            ("P", {"transparency": bytes(256), "exif": turned(6)}, 90),
            ("LA", {}, 250),
            ("RGB", {"exif": turned(6)}, 250),
        ],
        ids=["palette", "turned palette", "gray with alpha", "turned"],
    )
    def test_50_million_pixels_cost_one_copy(
        self, mode: str, options: dict[str, Any], most: int, tmp_path: Path
    ) -> None:
        file = tmp_path / "picture.png"
        Image.new(mode, (7070, 7070)).save(file, **options)
        assert peak_megabytes(file) < most

    def test_a_line_of_millions_of_pixels_is_refused(self) -> None:
        data = encoded(Image.new("L", (1, 70_000)))
        with pytest.raises(InvalidImage, match="limit of a side"):
            open_image(data, max_pixels=LIMIT)


PROGRAM = """
import resource, sys
from pathlib import Path
from core.images import open_image, picture_pixels

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

data = Path(sys.argv[1]).read_bytes()
before = peak()
picture_pixels(open_image(data, max_pixels=50_000_000), 32, 32, 3, 512)
print((peak() - before) // 1024)
"""


def peak_megabytes(file: Path) -> int:
    """What decoding the picture takes on top, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True)
    return int(done.stdout)
