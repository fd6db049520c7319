"""Readers of uploads: image folders, npz, TFRecord, CIFAR's archives and MNIST's IDX files, behind one `Source`.

An upload is hostile until read. Nothing is unpacked to disk; a tar's members are spooled into one file under `scratch`
that has no name and vanishes with its process. Sizes are counted as they are read, never believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from worker.imports.formats.detection import detect
from worker.imports.formats.opening import Meter, Opening
from worker.imports.source import ImportOptions, Limits, Source, UploadedFile

__all__ = ["open_source"]


def open_source(
    files: Sequence[UploadedFile],
    options: ImportOptions,
    limits: Limits,
    scratch: Path,
    on_progress: Callable[[int], None],
) -> Source:
    """Tells the format by content and checks the upload's structure; `on_progress` gets the bytes read so far.

    Raises Rejected with what is wrong, file by file, and OSError when the disk under `scratch` is full.
    """
    meter = Meter(on_progress)
    source = detect(Opening(files, options, limits, scratch, meter))
    meter.report()
    return source
