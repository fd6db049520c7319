"""Downloads of the built-in sets: resumed where they broke off, and used only when they match the published checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2

TRIES = 3
"""that may bring no further byte, or the wrong ones"""
SILENCE_SECONDS = 30.0


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


def have_files(name: str, folder: Path, *, offline: bool, on_progress: Callable[[int], None]) -> list[Path]:
    """The dataset's files below `folder/name`, downloaded where they are missing. Raises DownloadFailed.

    `on_progress` is told the bytes that are here.
    """
    return [have_file(file, folder / name, offline=offline, on_progress=on_progress) for file in DOWNLOADS[name]]


def have_file(file: RemoteFile, folder: Path, *, offline: bool, on_progress: Callable[[int], None]) -> Path:
    """One file, downloaded unless it is there already. Raises DownloadFailed."""
    path = folder / file.name
    if path.exists() and file.matches(path):
        return path
    if offline:
        raise DownloadFailed("downloads are switched off (KERASD_OFFLINE)")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{file.name}.part"
    fruitless = wrong = 0
    while True:
        had = _size(part)
        try:
            _receive(file.url, part, on_progress)
        except httpx2.HTTPError as error:
            fruitless = 0 if _size(part) > had else fruitless + 1
            if fruitless == TRIES:
                raise DownloadFailed(f"{file.url} could not be downloaded ({error})") from error
            continue
        if file.matches(part):
            part.replace(path)
            return path
        part.unlink()
        wrong += 1
        if wrong == TRIES:
            raise DownloadFailed(f"{file.url} does not match its published checksum")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _receive(url: str, part: Path, on_progress: Callable[[int], None]) -> None:
    """Continues `part` where an earlier try ended. Raises httpx2.HTTPError."""
    have = _size(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    with httpx2.stream("GET", url, headers=headers, follow_redirects=True, timeout=SILENCE_SECONDS) as answer:
        if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # everything is here already; the checksum will tell
        answer.raise_for_status()
        resumed = answer.status_code == HTTPStatus.PARTIAL_CONTENT
        done = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
                done += len(chunk)
                on_progress(done)
