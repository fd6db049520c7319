"""A handwritten digit that no training has seen, for the demonstration."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cli.failures import CommandFailed
from core.splits import split
from core.validation import check_spec
from core.views import split_plan

SOURCE = Path("datasets", "data", "digits.csv.gz")
"""inside scikit-learn: 1,797 rows of 64 grey values 0-16 and the digit"""


@dataclass(frozen=True)
class HeldOutDigit:
    """One 8x8 image of the job's test split, as PNG."""

    index: int
    label: str
    png: bytes


def held_out_digit(spec: Mapping[str, Any], position: int = 0) -> HeldOutDigit:
    """The image at a position of the test split that a job with this normalised spec kept from training.

    Raises CommandFailed when scikit-learn, whose data it is, is not installed.
    """
    checked = check_spec(dict(spec))
    pixels, labels = _read()
    held_out = split(labels, len(checked.labels), split_plan(checked.spec.dataset)).test
    index = int(held_out[position])
    picture = io.BytesIO()
    Image.fromarray(pixels[index]).save(picture, format="PNG")
    return HeldOutDigit(index, str(labels[index]), picture.getvalue())


def _read() -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Pixels 0-255 of shape (1797, 8, 8) and digits of shape (1797,). Located only: importing scikit-learn is slow."""
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise CommandFailed("the demonstration needs scikit-learn's digits: install kerasd[cpu] or kerasd[gpu]")
    with gzip.open(Path(package.submodule_search_locations[0]) / SOURCE, "rt", encoding="ascii") as stream:
        rows = np.loadtxt(stream, delimiter=",")
    pixels = np.round(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return pixels, rows[:, 64].astype(np.int64)
