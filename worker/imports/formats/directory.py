"""Counts a zip archive's entries without building anything: its directory is walked, not believed."""

from __future__ import annotations

import struct
from io import SEEK_CUR, SEEK_END
from typing import BinaryIO

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR_BYTES = 20
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s24x3H12x")
_MOST_COMMENT = 65_535


def count_entries(stream: BinaryIO, most: int) -> int | None:
    """How many entries the central directory has; counting stops past `most`. None: there is no directory."""
    found = _find_directory(stream)
    if found is None:
        return None
    start, end, declared = found
    if declared > most:
        return declared
    stream.seek(start)
    count, position = 0, start
    while position < end and count <= most:
        entry = stream.read(_ENTRY.size)
        if len(entry) < _ENTRY.size:
            return None
        signature, name, extra, comment = _ENTRY.unpack(entry)
        if signature != b"PK\x01\x02":
            return None
        stream.seek(name + extra + comment, SEEK_CUR)
        position += _ENTRY.size + name + extra + comment
        count += 1
    return count


def _find_directory(stream: BinaryIO) -> tuple[int, int, int] | None:
    """(start, end, declared number of entries) of the central directory."""
    length = stream.seek(0, SEEK_END)
    stream.seek(max(0, length - _END.size - _MOST_COMMENT))
    base = stream.tell()
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06", 0, len(tail) - _END.size + 4)
    if at < 0:
        return None
    _, _, _, _, declared, size, _, _ = _END.unpack_from(tail, at)
    end = base + at
    if (wide := _find_wide(stream, end)) is not None:
        end, declared, size = wide
    return (end - size, end, declared) if size <= end else None


def _find_wide(stream: BinaryIO, end: int) -> tuple[int, int, int] | None:
    """(end, declared, size) from the zip64 records that may stand before the end record."""
    start = end - _END64_LOCATOR_BYTES - _END64.size
    if start < 0:
        return None
    stream.seek(start)
    records = stream.read(_END64.size + _END64_LOCATOR_BYTES)
    if not records.startswith(b"PK\x06\x06") or records[_END64.size : _END64.size + 4] != b"PK\x06\x07":
        return None
    fields = _END64.unpack_from(records)
    return start, fields[7], fields[8]
