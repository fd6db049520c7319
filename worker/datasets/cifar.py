"""CIFAR-10 and CIFAR-100 archives in their original python form, read without trusting them.

The batches are pickles. The unpickler knows the few NumPy constructors that such a batch needs and nothing else, so a
crafted archive cannot run code; members are read one by one and never unpacked to disk.

Source of the format: Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and its web page.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy._core import multiarray  # where NumPy 2 keeps what older pickles name

from core.datasets import DatasetInfo

if TYPE_CHECKING:
    from worker.datasets.sources import RawDataset

MAX_MEMBER_BYTES = 256 << 20
TRAIN_FILES = {"cifar10": tuple(f"data_batch_{number}" for number in range(1, 6)), "cifar100": ("train",)}
TEST_FILES = {"cifar10": ("test_batch",), "cifar100": ("test",)}
LABEL_KEYS = {"cifar10": b"labels", "cifar100": b"fine_labels"}

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise ValueError(f"the archive wants {module}.{name}, which no CIFAR batch needs; it is not safe to read")
        if module == "_codecs":
            return _encode_latin1
        return getattr(np if module == "numpy" else multiarray, name)


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"the archive wants the codec {encoding!r}")
    return text.encode("latin1")


def read_cifar_archive(file: Path, info: DatasetInfo) -> RawDataset:
    """Reads a tar or tar.gz archive. Raises ValueError when it is not a CIFAR archive of this set."""
    from worker.datasets.sources import Images, RawDataset

    wanted = {*TRAIN_FILES[info.name], *TEST_FILES[info.name]}
    batches = _read_batches(file, wanted)
    missing = wanted - set(batches)
    if missing:
        raise ValueError(f"{file.name} lacks {', '.join(sorted(missing))}: is it the python version of {info.name}?")

    def join(names: tuple[str, ...]) -> Images:
        pixels = np.concatenate([_pixels(batches[name]) for name in names])
        labels = np.concatenate([_labels(batches[name], LABEL_KEYS[info.name]) for name in names])
        return Images(pixels, labels)

    return RawDataset(join(TRAIN_FILES[info.name]), join(TEST_FILES[info.name]))


def _read_batches(file: Path, wanted: set[str]) -> dict[str, dict[bytes, Any]]:
    batches = {}
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name not in wanted or not member.isreg():
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise ValueError(f"{member.name} has {member.size} bytes, more than any CIFAR batch")
                stream = archive.extractfile(member)
                if stream is not None:
                    batches[name] = _unpickle(stream.read(), member.name)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{file.name} is not a readable tar archive: {error}") from error
    return batches


def _unpickle(content: bytes, name: str) -> dict[bytes, Any]:
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"{name} is not a CIFAR batch: {error}") from error
    if not isinstance(batch, dict):
        raise ValueError(f"{name} is not a CIFAR batch")  # noqa: TRY004  (a bad file, not a bad call)
    return batch


def _pixels(batch: dict[bytes, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Rows of 3,072 bytes, one colour plane after the other, as (images, 32, 32, 3)."""
    rows = np.asarray(batch.get(b"data"))
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
        raise ValueError("a batch's data are not rows of 3072 bytes")
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _labels(batch: dict[bytes, Any], key: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    labels = np.asarray(batch.get(key))
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"a batch has no {key.decode()}")
    return labels.astype(np.int64)
