"""Pictures by Matplotlib, which is loaded with the first of them: one at a time, all of one look."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PictureKind = Literal["png", "svg"]

PICTURE_TYPES: dict[PictureKind, str] = {"png": "image/png", "svg": "image/svg+xml"}

_lock = Lock()  # Matplotlib's font cache is not made for threads


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that many inches. Nobody else draws until the block is left, so it must be encoded within."""
    from matplotlib.figure import Figure

    with _lock:
        yield Figure(figsize=(width, height), layout="constrained")


def encode(figure: Figure, kind: PictureKind) -> bytes:
    """The file. The same figure gives the same bytes, whenever it is drawn."""
    from matplotlib import rc_context

    picture = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
    with rc_context({"svg.hashsalt": "kerasd"}):
        figure.savefig(picture, format=kind, dpi=120, metadata=metadata)
    return picture.getvalue()


def dress(axes: Axes, x: str, y: str) -> None:
    """Labels, a faint grid, and no frame where nothing is read off."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
