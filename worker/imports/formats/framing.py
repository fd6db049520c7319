"""The framing of TFRecord files: length, checksum of the length, data, checksum of the data; checksums are CRC-32C.

Source: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import google_crc32c

from worker.imports.formats.archives import Archive, Member, UnreadableMember, read_exactly
from worker.imports.formats.faults import rejection

MOST_RECORD_BYTES = 64 << 20
"""of one record; parsing takes a multiple of it in memory"""

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted so that checksums of data that hold checksums stay good."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(archive: Archive, member: Member) -> Iterator[bytes]:
    """Every record of a shard. A length is checked before anything is read for it. Raises Rejected."""
    index, left = 0, member.size
    try:
        with archive.open(member) as reader:
            while left:
                place = f"{member.name}[{index}]"
                header = read_exactly(reader, min(_HEADER.size, left), place)
                length = _length(header, left, place)
                data = read_exactly(reader, length, place)
                (checksum,) = _FOOTER.unpack(read_exactly(reader, _FOOTER.size, place))
                if masked_crc(data) != checksum:
                    raise rejection(place, "corrupt_record", "the record's checksum does not match its data")
                yield data
                left -= _HEADER.size + length + _FOOTER.size
                index += 1
    except UnreadableMember as error:
        raise rejection(error.name, "corrupt_member", f"its bytes are damaged: {error.detail}") from None


def _length(header: bytes, left: int, place: str) -> int:
    if len(header) < _HEADER.size:
        raise rejection(place, "truncated_record", "the file ends inside a record")
    length, checksum = _HEADER.unpack(header)
    if masked_crc(header[:8]) != checksum:
        raise rejection(
            place, "corrupt_record", "the checksum of the record's length does not match: no TFRecord follows"
        )
    if length > MOST_RECORD_BYTES:
        raise rejection(place, "record_too_large", f"it claims {length} bytes; the limit is {MOST_RECORD_BYTES}")
    if length > left - _HEADER.size - _FOOTER.size:
        raise rejection(place, "truncated_record", f"it claims {length} bytes, more than the file still has")
    return int(length)
