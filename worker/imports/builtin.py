"""The built-in sets: from a package, a local file, or a verified download, read as any upload is read."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from core.dataset_content import StoredSplit
from core.datasets import BUILTIN_DATASETS, DatasetInfo
from core.settings import Settings
from worker.imports.downloads import DownloadFailed, have_files
from worker.imports.formats import open_source
from worker.imports.source import FileError, ImportOptions, Item, Limits, Rejected, Source, Split, UploadedFile

DIGITS_SOURCE = Path("datasets", "data", "digits.csv.gz")
"""inside scikit-learn: 1,797 rows of 64 grey values 0-16 and the digit"""

BUNDLED = "digits"
"""It needs no file, so every worker registers it when it starts."""

SAME_FILES = {"cifar100_coarse": "cifar100"}
"""Sets that are read from another one's files."""


class BuiltinMissing(Exception):
    """A built-in set cannot be had; the message says what to do."""


def open_builtin(
    name: str, settings: Settings, limits: Limits, scratch: Path, on_progress: Callable[[int], None]
) -> Source:
    """Raises BuiltinMissing, and Rejected when a local file is not what it should be."""
    info = BUILTIN_DATASETS[name]
    if name == BUNDLED:
        return DigitsSource(info)
    files = [UploadedFile(path.name, path) for path in _files(info, settings, on_progress)]
    options = ImportOptions(cifar_labels="coarse" if name == "cifar100_coarse" else "fine")
    return _Renamed(open_source(files, options, limits, scratch, on_progress), info)


def check_counts(name: str, splits: Mapping[Split, StoredSplit]) -> None:
    """A built-in set holds what everybody knows it to hold. Raises Rejected."""
    info = BUILTIN_DATASETS[name]
    for split, counts in (("train", info.train_counts), ("test", info.test_counts)):
        stored = splits.get(split)  # type: ignore[call-overload]
        if counts is not None and (stored is None or stored.class_counts != counts):
            detail = f"its {split} images are not the ones that {name} has: is it the right file?"
            raise Rejected([FileError(name, "wrong_images", detail)])


def _files(info: DatasetInfo, settings: Settings, on_progress: Callable[[int], None]) -> list[Path]:
    family = SAME_FILES.get(info.name, info.name)
    local = settings.dataset_files.get(info.name) or settings.dataset_files.get(family)
    if local is not None:
        if not local.is_file():
            raise BuiltinMissing(f"KERASD_DATASET_FILES names {local}, which is not a file")
        return [local]
    try:
        return have_files(family, settings.downloads, offline=settings.offline, on_progress=on_progress)
    except DownloadFailed as error:
        accepted = "the original CIFAR archive" if family.startswith("cifar") else "an .npz in Keras layout"
        hint = (
            f"Put the files below {settings.downloads / family}, or name a local file: "
            f'KERASD_DATASET_FILES=\'{{"{family}": "/path/to/file"}}\' ({accepted})'
        )
        raise BuiltinMissing(f"dataset {info.name} is not here and {error}. {hint}.") from error


class DigitsSource:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, read without importing scikit-learn."""

    splits: tuple[Split, ...] = ("train",)

    def __init__(self, info: DatasetInfo) -> None:
        package = find_spec("sklearn")
        if package is None or not package.submodule_search_locations:
            raise BuiltinMissing("the digits come with scikit-learn: install kerasd[cpu] or kerasd[gpu]")
        with gzip.open(Path(package.submodule_search_locations[0]) / DIGITS_SOURCE, "rt", encoding="ascii") as stream:
            rows = np.loadtxt(stream, delimiter=",")
        # 0-16 in the source; pixels are 0-255 everywhere in kerasd.
        self._pixels = np.round(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        self._labels = rows[:, 64].astype(int).tolist()
        self.labels = info.labels

    @property
    def files_total(self) -> int:
        return len(self._labels)

    def items(self) -> Iterator[Item]:
        for number, (pixels, label) in enumerate(zip(self._pixels, self._labels, strict=True)):
            yield Item("train", label, f"digits[{number}]", pixels)

    def close(self) -> None:
        """Nothing was spooled."""


class _Renamed:
    """A set whose files number their classes, under the names that those have."""

    def __init__(self, source: Source, info: DatasetInfo) -> None:
        self._source = source
        self.labels = info.labels
        if len(source.labels) != len(info.labels):
            source.close()
            detail = (
                f"it has {len(source.labels)} classes, not the {len(info.labels)} of {info.name}: is it the right file?"
            )
            raise Rejected([FileError(info.name, "wrong_images", detail)])

    @property
    def splits(self) -> tuple[Split, ...]:
        return self._source.splits

    @property
    def files_total(self) -> int:
        return self._source.files_total

    def items(self) -> Iterator[Item]:
        return self._source.items()

    def close(self) -> None:
        self._source.close()
