"""The data folder: made, shown to be writable, and held by one `kerasd up` at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.failures import INVALID, CommandFailed

LOCK_NAME = "up.lock"


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Holds the folder for this process. The lock goes with the process, however that ends.

    Raises CommandFailed when the folder cannot be written or another `kerasd up` holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CommandFailed(f"cannot use the data folder {folder}: {_reason(error)}", INVALID) from None
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def private_folder(folder: Path) -> None:
    """Makes a folder that only its owner can enter. Raises CommandFailed when somebody else's stands there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            folder.chmod(0o700)
            return
    except OSError as error:
        raise CommandFailed(f"cannot use the folder {folder}: {_reason(error)}", INVALID) from None
    raise CommandFailed(f"the folder {folder} is not this user's own; remove it or set another --data", INVALID)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise CommandFailed(
            f"another `kerasd up` (process {holder}) uses the data folder {folder}: stop it or choose another --data",
            INVALID,
        ) from None
    except OSError as error:
        raise CommandFailed(f"cannot lock the data folder {folder}: {_reason(error)}", INVALID) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
