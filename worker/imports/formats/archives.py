"""One face for zip, tar and loose files: members with a checked name and a size, read without being unpacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise

from worker.imports.formats.faults import Faults, rejection, shown
from worker.imports.formats.paths import base_name
from worker.imports.formats.streams import CHUNK_BYTES, Reader
from worker.imports.source import UploadedFile

HEAD_BYTES = 512

UNREADABLE = b""
"""An item's content when its bytes could not be read (a checksum that does not match): no picture, so it is corrupt."""


class UnreadableMember(Exception):
    """A member's bytes are damaged: its checksum does not match, or it ends too early."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name, self.detail = name, detail


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file. `position` is the archive's own way to find it again."""

    name: str
    size: int
    position: int


class Archive(ABC):
    """`members` are in the archive's order, without folders and what operating systems leave behind."""

    name: str
    members: Sequence[Member]

    @abstractmethod
    def open(self, member: Member) -> AbstractContextManager[Reader]:
        """A reader of at most `member.size` bytes. It and this raise UnreadableMember."""

    @abstractmethod
    def cost(self, member: Member) -> int:
        """Bytes that the member takes in the upload."""

    @abstractmethod
    def close(self) -> None:
        """Removes what was spooled."""

    def head(self, member: Member) -> bytes:
        """The first HEAD_BYTES, or as many as there are."""
        with self.open(member) as reader:
            return read_exactly(reader, min(HEAD_BYTES, member.size), member.name)

    def read(self, member: Member) -> bytes:
        """All of it, its checksum verified where the archive has one."""
        with self.open(member) as reader:
            content = read_exactly(reader, member.size, member.name)
            if not content:
                reader.read(1)
        return content


class LooseFiles(Archive):
    """Uploaded files as they are, in the order of their names."""

    def __init__(self, files: Sequence[UploadedFile]) -> None:
        self._files = sorted(files, key=lambda file: file.name)
        self.name = self._files[0].name
        self.members = [
            Member(shown(file.name), file.path.stat().st_size, index) for index, file in enumerate(self._files)
        ]
        check_unique(self.members)

    @contextmanager
    def open(self, member: Member) -> Iterator[Reader]:
        with self._files[member.position].path.open("rb") as stream:
            yield stream

    def cost(self, member: Member) -> int:
        return member.size

    def close(self) -> None:
        """The files are not the archive's."""


def read_exactly(reader: Reader, size: int, name: str) -> bytes:
    """`size` bytes, taken in chunks: memory grows with what is there, not with what is claimed."""
    first = reader.read(min(size, CHUNK_BYTES))
    if len(first) == size:
        return first
    content = bytearray(first)
    while len(content) < size:
        data = reader.read(min(size - len(content), CHUNK_BYTES))
        if not data:
            raise UnreadableMember(name, f"it ends after {len(content)} of {size} bytes")
        content += data
    return bytes(content)


def check_unique(members: Sequence[Member]) -> None:
    """Raises Rejected when a name comes twice: readers disagree which of the two is meant."""
    faults = Faults()
    names = sorted(member.name for member in members)
    for one, other in pairwise(names):
        if one == other:
            faults.add(one, "duplicate_name", "the upload holds two files of this name")
    faults.check()


def by_base_name(archive: Archive) -> dict[str, Member]:
    """Members by the last part of their name. Raises Rejected when two share it."""
    found: dict[str, Member] = {}
    for member in archive.members:
        name = base_name(member.name)
        if name in found:
            raise rejection(member.name, "duplicate_name", f"{found[name].name} has the same file name")
        found[name] = member
    return found
