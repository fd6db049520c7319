"""Zip archives, read through their central directory and member by member; nothing is unpacked to disk.

Only stored and deflated members are read: Python's decoders of the other methods expand a chunk without a bound. What
a member declares is checked against the limits before anything is read, and zipfile never produces more than that.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO
from zipfile import ZipInfo

import numpy as np

from worker.imports.formats.archives import Archive, Member, UnreadableMember, check_unique
from worker.imports.formats.directory import count_entries
from worker.imports.formats.faults import Faults, rejection
from worker.imports.formats.opening import Opening
from worker.imports.formats.paths import clean_path, is_junk, path_fault
from worker.imports.formats.streams import Reader, check_expansion
from worker.imports.source import Limits, UploadedFile

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_LOCAL_HEADER_BYTES = 30
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile raises for damaged members."""


class ZipArchive(Archive):
    """A checked zip archive; `position` is the index in its directory."""

    def __init__(self, name: str, archive: zipfile.ZipFile, members: Sequence[Member]) -> None:
        self.name, self.members = name, members
        self._archive = archive
        self._infos = archive.infolist()

    @contextmanager
    def open(self, member: Member) -> Iterator[Reader]:
        try:
            stream = self._archive.open(self._infos[member.position])
        except _DAMAGE as error:
            raise UnreadableMember(member.name, str(error)) from None
        with stream:
            yield _ZipReader(stream, member.name)

    def cost(self, member: Member) -> int:
        return self._infos[member.position].compress_size

    def close(self) -> None:
        self._archive.close()


class _ZipReader:
    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name = stream, name

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(size)
        except _DAMAGE as error:
            raise UnreadableMember(self._name, str(error)) from None


def open_zip(file: UploadedFile, opening: Opening) -> ZipArchive:
    """Checks the whole directory. Raises Rejected."""
    _check_entries(file, opening.limits)
    try:
        archive = zipfile.ZipFile(file.path)
    except UnicodeDecodeError:
        raise rejection(file.name, "bad_name", "a name in it is marked as UTF-8 and is not") from None
    except _DAMAGE as error:
        raise rejection(file.name, "damaged_archive", f"it is not a readable zip archive: {error}") from None
    try:
        return ZipArchive(file.name, archive, _checked_members(file, archive.infolist(), opening.limits))
    except BaseException:
        archive.close()
        raise


def _check_entries(file: UploadedFile, limits: Limits) -> None:
    """Before zipfile builds its list, an entry of which takes much more memory than in the file."""
    with file.path.open("rb") as stream:
        count = count_entries(stream, limits.entries)
    if count is None:
        raise rejection(file.name, "damaged_archive", "it has no readable zip directory: was it sent completely?")
    if count > limits.entries:
        raise rejection(file.name, "too_many_entries", f"it has more than {limits.entries} entries")


def _checked_members(file: UploadedFile, infos: Sequence[ZipInfo], limits: Limits) -> list[Member]:
    faults, members = Faults(), []
    for index, info in enumerate(infos):
        name = _name(info)
        fault = path_fault(info.orig_filename, limits) or path_fault(name, limits) or _member_fault(info, limits)
        if fault is not None:
            faults.add(name if "\0" not in info.orig_filename else info.orig_filename, *fault)
        elif not info.is_dir() and not is_junk(name := clean_path(name)):
            members.append(Member(name, info.file_size, index))
    faults.check()
    check_expansion(file.name, sum(i.file_size for i in infos), sum(i.compress_size for i in infos), limits)
    _check_overlap(file, infos)
    check_unique(members)
    return members


def _name(info: ZipInfo) -> str:
    """Many programs write UTF-8 without saying so; zipfile then takes it for the code page of MS-DOS."""
    if info.flag_bits & _UTF8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _member_fault(info: ZipInfo, limits: Limits) -> tuple[str, str] | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "link_or_device", "it is a link or a device; only files and folders are read"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted_member", "it is encrypted; make the archive without a password"
    if info.compress_type not in _METHODS:
        return "unsupported_compression", "it is neither stored nor deflated; use the usual zip compression"
    most = limits.expanded_bytes if info.filename.endswith(".npy") else limits.member_bytes
    if info.file_size > most:
        return "member_too_large", f"it declares {info.file_size} bytes; the limit is {most}"
    return None


def _check_overlap(file: UploadedFile, infos: Sequence[ZipInfo]) -> None:
    """Members that share bytes expand one upload many times over (Fifield, "A better zip bomb", 2019)."""
    starts = np.fromiter((info.header_offset for info in infos), np.int64, len(infos))
    sizes = (_LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size for info in infos)
    ends = starts + np.fromiter(sizes, np.int64, len(infos))
    order = np.argsort(starts, kind="stable")
    if len(infos) and (starts.min() < 0 or ends.max() > file.path.stat().st_size):
        raise rejection(file.name, "damaged_archive", "its directory points outside the file")
    clashes = order[1:][ends[order[:-1]] > starts[order[1:]]]
    faults = Faults()
    for index in clashes:
        faults.add(_name(infos[index]), "overlapping_members", "it shares bytes of the archive with another member")
    faults.check()
