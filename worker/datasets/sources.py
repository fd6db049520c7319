"""Where a built-in dataset's images come from: a package, a local file, or a verified download.

Whatever the source, the images must have the shapes and counts that core/datasets.py promises. User files are never
unpickled except through cifar.py's allow-list.
"""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.datasets import DatasetInfo
from core.errors import TrainingFailure
from core.settings import Settings
from core.states import Reason
from worker.datasets.cifar import read_cifar_archive
from worker.datasets.downloads import DownloadFailed, download

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """Pixels of shape (images, height, width, channels) and labels of shape (images,)."""

    pixels: Pixels
    labels: Labels


@dataclass(frozen=True)
class RawDataset:
    """A dataset as its source has it; `test` is None where it comes without a test split."""

    train: Images
    test: Images | None

    def digest(self) -> str:
        """sha256 over shapes, pixels and labels, in order: the same images have the same digest whatever their file."""
        content = hashlib.sha256()
        for part in (self.train, self.test):
            if part is not None:
                content.update(repr(part.pixels.shape).encode())
                content.update(np.ascontiguousarray(part.pixels).data)
                content.update(np.ascontiguousarray(part.labels).data)
        return content.hexdigest()


def load_builtin(info: DatasetInfo, settings: Settings) -> RawDataset:
    """Finds and reads a built-in dataset. Raises TrainingFailure INVALID_DATASET saying what to do."""
    try:
        raw = _read(info, settings)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingFailure(Reason.INVALID_DATASET, f"dataset {info.name} cannot be read: {error}") from error
    _check(info, raw)
    return raw


def _read(info: DatasetInfo, settings: Settings) -> RawDataset:
    if info.name == "digits":
        return _read_digits()
    local = settings.dataset_files.get(info.name)
    if local is not None:
        if not local.is_file():
            raise FileNotFoundError(f"KERASD_DATASET_FILES names {local}, which is not a file")
        return _read_file(info, [local])
    return _read_file(info, _downloaded(info, settings))


def _downloaded(info: DatasetInfo, settings: Settings) -> list[Path]:
    hint = (
        f"Put the files below {settings.downloads / info.name}, or name a local file: "
        f'KERASD_DATASET_FILES=\'{{"{info.name}": "/path/to/file"}}\' ({_accepted(info)})'
    )
    try:
        return download(info.name, settings.downloads, offline=settings.offline)
    except DownloadFailed as error:
        raise TrainingFailure(
            Reason.INVALID_DATASET, f"dataset {info.name} is not here and {error}. {hint}."
        ) from error


def _accepted(info: DatasetInfo) -> str:
    cifar = ", or the original CIFAR archive" if info.name.startswith("cifar") else ""
    return f"an .npz in Keras layout, x_train, y_train, x_test, y_test{cifar}"


def _read_digits() -> RawDataset:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    # 0-16 in the source; pixels are 0-255 everywhere in kerasd.
    pixels = np.round(bundle.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    return RawDataset(Images(pixels, bundle.target.astype(np.int64)), None)


def _read_file(info: DatasetInfo, files: list[Path]) -> RawDataset:
    first = files[0]
    if len(files) > 1:
        return _read_idx(files)
    if first.suffix == ".npz":
        return _read_npz(first)
    if info.name.startswith("cifar"):
        return read_cifar_archive(first, info)
    raise ValueError(f"{first.name} is not {_accepted(info)}")


def _read_npz(file: Path) -> RawDataset:
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file.name} is not an npz archive")
    # NumPy leaves a file that it opened itself open when the archive is torn.
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        missing = {"x_train", "y_train", "x_test", "y_test"} - set(arrays.files)
        if missing:
            raise ValueError(f"{file.name} lacks {', '.join(sorted(missing))}")
        return RawDataset(_images(arrays["x_train"], arrays["y_train"]), _images(arrays["x_test"], arrays["y_test"]))


def _read_idx(files: list[Path]) -> RawDataset:
    """The four gzip'd IDX files of an MNIST-like set, in the order train images, train labels, test images, test labels."""
    arrays = []
    for file in files:
        with gzip.open(file) as stream:
            content = stream.read()
        sides = content[3]
        shape = np.frombuffer(content, ">i4", count=sides, offset=4)
        arrays.append(np.frombuffer(content, np.uint8, offset=4 + 4 * sides).reshape(shape))
    return RawDataset(_images(arrays[0], arrays[1]), _images(arrays[2], arrays[3]))


def _images(pixels: NDArray[Any], labels: NDArray[Any]) -> Images:
    if pixels.dtype != np.uint8:
        raise ValueError(f"its pixels are {pixels.dtype}, not uint8 0-255")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"its labels are {labels.dtype}, not integers")
    shaped = pixels[..., np.newaxis] if pixels.ndim == 3 else pixels
    return Images(shaped, labels.reshape(-1).astype(np.int64))


def _check(info: DatasetInfo, raw: RawDataset) -> None:
    for part, images, counts in (("train", raw.train, info.train_counts), ("test", raw.test, info.test_counts)):
        if images is None:
            continue
        if images.pixels.shape[1:] != info.image_shape or len(images.pixels) != len(images.labels):
            found = f"{images.pixels.shape} with {len(images.labels)} labels"
            raise TrainingFailure(
                Reason.INVALID_DATASET,
                f"the {part} part of {info.name} is {found}; expected images of {info.image_shape}",
            )
        present = np.bincount(images.labels, minlength=len(info.labels)) if images.labels.min(initial=0) >= 0 else None
        if present is None or tuple(present) != counts:
            raise TrainingFailure(
                Reason.INVALID_DATASET,
                f"the {part} labels of {info.name} are not the ones that this set has: is it the right file?",
            )
