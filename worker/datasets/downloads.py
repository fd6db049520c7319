"""Downloads of the built-in sets through Keras's loader, each file checked against its published checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


class DownloadFailed(Exception):
    """The files could not be had; the message completes "dataset x is not here and …"."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a dataset: where it is published, and its sha256 or md5 in hex."""

    name: str
    url: str
    checksum: str

    def matches(self, file: Path) -> bool:
        algorithm = "sha256" if len(self.checksum) == 64 else "md5"
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, algorithm).hexdigest() == self.checksum


_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"

DOWNLOADS: dict[str, tuple[RemoteFile, ...]] = {
    # sha256 as in Keras's own loaders.
    "mnist": (
        RemoteFile(
            "mnist.npz", f"{_KERAS}mnist.npz", "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
        ),
    ),
    "cifar10": (
        RemoteFile(
            "cifar-10-python.tar.gz",
            f"{_TORONTO}cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
    ),
    "cifar100": (
        RemoteFile(
            "cifar-100-python.tar.gz",
            f"{_TORONTO}cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ),
    ),
    # Keras has no checksums for these; md5 as published by Zalando Research with the set.
    "fashion_mnist": (
        RemoteFile(
            "train-images-idx3-ubyte.gz", f"{_KERAS}train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz", f"{_KERAS}train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz", f"{_KERAS}t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz", f"{_KERAS}t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"
        ),
    ),
}


def download(name: str, folder: Path, *, offline: bool) -> list[Path]:
    """The dataset's files below `folder/name`, downloaded where they are missing. Raises DownloadFailed."""
    return [_have(file, folder / name, offline) for file in DOWNLOADS[name]]


def _have(file: RemoteFile, folder: Path, offline: bool) -> Path:
    path = folder / file.name
    if path.exists() and file.matches(path):
        return path
    if offline:
        raise DownloadFailed("downloads are switched off (KERASD_OFFLINE)")
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Keras reports trouble with the network and with the checksum as plain exceptions.
        found = keras.utils.get_file(file.name, file.url, file_hash=file.checksum, cache_dir=folder, cache_subdir=".")
    except Exception as error:
        raise DownloadFailed(f"{file.url} could not be downloaded ({error})") from error
    return Path(found)
