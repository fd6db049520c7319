"""One array of an npz: its header checked, its rows streamed; pickled objects are never read."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from worker.imports.formats.archives import Archive, Member, UnreadableMember, read_exactly
from worker.imports.formats.faults import rejection
from worker.imports.formats.streams import CHUNK_BYTES, Reader
from worker.imports.source import Rejected

_MOST_HEADER = 4 << 10
_MOST_TEXT = 1000
"""characters of a header that are parsed as Python literals; honest ones have about 100"""
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Array:
    """What a member's header says, once it agrees with the member's size."""

    archive: Archive
    member: Member
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def name(self) -> str:
        return self.member.name.removesuffix(".npy")

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    def rows(self) -> Iterator[NDArray[Any]]:
        """Blocks of whole rows, about CHUNK_BYTES each (a row at least). Raises Rejected when the bytes are damaged."""
        row_bytes = self.dtype.itemsize * math.prod(self.row_shape)
        block = max(1, CHUNK_BYTES // row_bytes)
        try:
            with self._data() as reader:
                for start in range(0, self.shape[0], block):
                    count = min(block, self.shape[0] - start)
                    content = read_exactly(reader, count * row_bytes, self.name)
                    yield np.frombuffer(content, self.dtype).reshape(count, *self.row_shape)
        except UnreadableMember as error:
            raise _corrupt(error) from None

    @contextmanager
    def _data(self) -> Iterator[Reader]:
        with self.archive.open(self.member) as reader:
            read_exactly(reader, self.offset, self.name)
            yield reader


def open_array(archive: Archive, member: Member) -> Array:
    """Raises Rejected."""
    try:
        with archive.open(member) as reader:
            head = io.BytesIO(reader.read(min(_MOST_HEADER, member.size)))
    except UnreadableMember as error:
        raise _corrupt(error) from None
    name = member.name.removesuffix(".npy")
    try:
        shape, fortran, dtype = _read_header(head)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise rejection(name, "damaged_array", f"its header cannot be read: {error}") from None
    _check(name, shape, dtype, fortran=fortran)
    if head.tell() + dtype.itemsize * math.prod(shape) != member.size:
        detail = f"its header claims the shape {_written(shape)}, which is not what its {member.size} bytes hold"
        raise rejection(name, "damaged_array", detail)
    return Array(archive, member, shape, dtype, head.tell())


def _read_header(head: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """NumPy limits a header's length itself; from `head` it can read no more than is there."""
    version = npy_format.read_magic(head)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(head, max_header_size=_MOST_TEXT)
    if version == (2, 0):
        return npy_format.read_array_header_2_0(head, max_header_size=_MOST_TEXT)
    raise ValueError(f"version {version} is not supported")


def _check(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, fortran: bool) -> None:
    if dtype.hasobject:
        raise rejection(
            name, "object_array", "it holds Python objects, which are never read; save plain numbers or text"
        )
    if not 1 <= len(shape) <= _MOST_DIMENSIONS or any(side < 0 for side in shape):
        raise rejection(name, "bad_shape", f"its shape is {_written(shape)}; images and labels come in rows")
    if 0 in shape or dtype.itemsize == 0:
        raise rejection(name, "empty_array", f"its shape is {_written(shape)}: it holds nothing")
    if fortran and len(shape) > 1:
        detail = "it is in Fortran order and cannot be streamed; save numpy.ascontiguousarray(array)"
        raise rejection(name, "fortran_order", detail)


def _corrupt(error: UnreadableMember) -> Rejected:
    return rejection(error.name.removesuffix(".npy"), "corrupt_member", f"its bytes are damaged: {error.detail}")


def _written(shape: tuple[int, ...]) -> str:
    return f"({', '.join(str(side) if abs(side) < 10**18 else 'more than 10**18' for side in shape)})"
