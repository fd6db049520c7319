"""Tar archives, plain or compressed: one pass forward, the accepted members spooled into one file without a name.

tarfile only parses headers here. It never extracts, and it reads through ForwardStream, which counts every byte and
refuses absurd headers; so the weaknesses of its extraction filters do not matter.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, cast

from worker.imports.formats.archives import Archive, Member, check_unique
from worker.imports.formats.faults import Faults, rejection
from worker.imports.formats.opening import Opening
from worker.imports.formats.paths import clean_path, is_junk, path_fault
from worker.imports.formats.streams import ForwardStream, Reader
from worker.imports.source import Limits, UploadedFile

MOST_HEADER_BYTES = 256 << 10
"""of one entry, with its extended headers: tarfile keeps those in memory"""


class TarArchive(Archive):
    """A spooled tar archive; `position` is the offset in the spool, which vanishes with its last user."""

    def __init__(self, name: str, spool: IO[bytes], members: list[Member]) -> None:
        self.name, self.members = name, members
        self._spool = spool

    @contextmanager
    def open(self, member: Member) -> Iterator[Reader]:
        yield _SpoolReader(self._spool, member)

    def cost(self, member: Member) -> int:
        return member.size

    def close(self) -> None:
        self._spool.close()


class _SpoolReader:
    def __init__(self, spool: IO[bytes], member: Member) -> None:
        self._spool, self._at, self._end = spool, member.position, member.position + member.size

    def read(self, size: int, /) -> bytes:
        self._spool.seek(self._at)
        content = self._spool.read(min(size, self._end - self._at))
        self._at += len(content)
        return content


class _Headers:
    """What tarfile reads from: it moves forward only, and has MOST_HEADER_BYTES for each entry."""

    def __init__(self, file: UploadedFile, stream: ForwardStream) -> None:
        self._file, self._stream, self._left = file, stream, MOST_HEADER_BYTES
        self.tell, self.seek = stream.tell, stream.seek

    def next_entry(self) -> None:
        self._left = MOST_HEADER_BYTES

    def read(self, size: int, /) -> bytes:
        if not 0 <= size <= self._left:
            raise rejection(self._file.name, "damaged_archive", "a header in it claims an absurd size")
        self._left -= size
        return self._stream.read(size)


def open_tar(file: UploadedFile, opening: Opening) -> TarArchive:
    """Reads and checks the whole archive. Raises Rejected, and OSError when the disk is full."""
    spool = cast("IO[bytes]", tempfile.TemporaryFile(dir=opening.scratch))  # noqa: SIM115  (closed with the archive)
    try:
        with ForwardStream(file, opening.limits, opening.meter) as stream:
            members = _spool(file, stream, spool, opening.limits)
        check_unique(members)
    except BaseException:
        spool.close()
        raise
    return TarArchive(file.name, spool, members)


def _spool(file: UploadedFile, stream: ForwardStream, spool: IO[bytes], limits: Limits) -> list[Member]:
    faults, members = Faults(), []
    for info in _entries(file, stream, limits):
        fault = path_fault(info.name, limits) or _member_fault(info, limits)
        if fault is not None:
            faults.add(info.name, *fault)
        elif info.isreg() and not is_junk(name := clean_path(info.name)):
            members.append(Member(name, info.size, spool.tell()))
            _copy(stream, spool, info.size)
    stream.drain()
    faults.check()
    return members


def _entries(file: UploadedFile, stream: ForwardStream, limits: Limits) -> Iterator[tarfile.TarInfo]:
    """Every entry up to the mark that ends an archive; an archive without that mark is not whole."""
    count, headers = 0, _Headers(file, stream)
    try:
        with closing(tarfile.TarFile(fileobj=cast("IO[bytes]", headers), encoding="utf-8")) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else it remembers every entry
                archive.pax_headers = {}
                headers.next_entry()
                count += 1
                if count > limits.entries:
                    raise rejection(file.name, "too_many_entries", f"it has more than {limits.entries} entries")
                yield info
    except (tarfile.TarError, ValueError, RecursionError) as error:
        if stream.short:
            raise stream.truncated() from None
        raise rejection(file.name, "damaged_archive", f"it is not a readable tar archive: {error}") from None
    if stream.short:
        raise stream.truncated()
    if any(stream.last):
        raise rejection(file.name, "damaged_archive", "a header in it is damaged")


def _member_fault(info: tarfile.TarInfo, limits: Limits) -> tuple[str, str] | None:
    if not (info.isreg() or info.isdir()) or info.issparse():
        return "link_or_device", "it is a link, a device or a sparse file; only files and folders are read"
    if not 0 <= info.size <= limits.member_bytes:
        return "member_too_large", f"it declares {info.size} bytes; the limit is {limits.member_bytes}"
    return None


def _copy(stream: ForwardStream, spool: IO[bytes], size: int) -> None:
    while size:
        content = stream.read(size)
        if not content:
            raise stream.truncated()
        spool.write(content)
        size -= len(content)
