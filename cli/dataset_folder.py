"""A folder of images packed for the upload: the same files always give the same bytes, and so the same dataset."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from cli.failures import INVALID, CommandFailed

COPY_BYTES = 1 << 20
ENTRY_BYTES = 256
"""about what an archive needs for a member besides its content, twice its name not counted"""

FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""the date of every member: what a file system says about times is not content"""

READABLE = (stat.S_IFREG | 0o644) << 16

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Member:
    """A file to pack: where it lies, what it is called in the archive (with /), and its bytes."""

    path: Path
    name: str
    size: int


def folder_members(folder: Path) -> list[Member]:
    """The files below a folder by name, without hidden ones.

    Raises CommandFailed for links and devices, whose target may be anything, and when there is no file at all.
    """
    members = sorted(_walk(folder, ""), key=lambda member: member.name)
    if not members:
        raise CommandFailed(f"there are no files in {folder}", INVALID)
    return members


def pack(members: list[Member], archive: Path, on_progress: OnProgress) -> None:
    """Makes a zip of the members, not compressed: images are already.

    `on_progress` is told bytes packed and bytes in all. Raises CommandFailed.
    """
    _check_room(members, archive.parent)
    try:
        _write(members, archive, on_progress)
    except OSError as error:
        what = error.filename or archive
        raise CommandFailed(f"cannot pack {what}: {(error.strerror or str(error)).lower()}") from None


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that is gone afterwards, also when the command is asked to terminate."""
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryDirectory(prefix="kerasd-") as folder:
            yield Path(folder)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _walk(folder: Path, prefix: str) -> Iterator[Member]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise CommandFailed(f"cannot read {folder}: {(error.strerror or str(error)).lower()}", INVALID) from None
    for entry in visible:
        path, name = folder / entry.name, f"{prefix}{entry.name}"
        if entry.is_symlink():
            raise CommandFailed(f"{path} is a symbolic link: put the file itself there, or hide it", INVALID)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            yield Member(path, _in_unicode(name, path), entry.stat(follow_symlinks=False).st_size)
        else:
            raise CommandFailed(f"{path} is no regular file", INVALID)


def _in_unicode(name: str, path: Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CommandFailed(f"the name of {os.fsencode(path)!r} is not UTF-8: rename it", INVALID) from None
    return name


def _write(members: list[Member], archive: Path, on_progress: OnProgress) -> None:
    total, done = sum(member.size for member in members), 0
    with ZipFile(archive, "w", ZIP_STORED) as target:
        for member in members:
            entry = ZipInfo(member.name, FIRST_DAY)
            entry.create_system, entry.external_attr, entry.file_size = 3, READABLE, member.size
            with member.path.open("rb") as source, target.open(entry, "w") as sink:
                while chunk := source.read(COPY_BYTES):
                    sink.write(chunk)
                    done += len(chunk)
                    on_progress(done, total)


def _check_room(members: list[Member], folder: Path) -> None:
    needed = sum(member.size + ENTRY_BYTES + 2 * len(member.name.encode()) for member in members)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CommandFailed(
            f"packing needs {needed:,} bytes in {folder.parent}, where {free:,} are free: set TMPDIR to a larger place"
        )


def _leave(number: int, frame: FrameType | None) -> Any:
    sys.exit(128 + number)
