"""Downloads of the built-in sets: resumed where they broke off, and used only when they match the published checksum."""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2

TRIES = 3
"""that may bring no further byte, or the wrong ones"""
SILENCE_SECONDS = 15.0
"""of a server, for each try: all together they take less than an import may stand still"""
LOCK_POLL_SECONDS = 0.5


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
    with _alone(folder / f"{file.name}.lock", lambda: on_progress(_size(part))):
        if not path.exists():  # or another import was faster
            _download(file, part, path, on_progress)
    return path


def _download(file: RemoteFile, part: Path, path: Path, on_progress: Callable[[int], None]) -> None:
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
            return
        part.unlink()
        wrong += 1
        if wrong == TRIES:
            raise DownloadFailed(f"{file.url} does not match its published checksum")


@contextmanager
def _alone(lock: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Holds a lock file that the kernel frees when this process dies. `wait` is called while another holds it."""
    with lock.open("ab") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait()
                time.sleep(LOCK_POLL_SECONDS)
        yield


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
