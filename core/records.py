"""TFRecord framing: length, its checksum, payload, its checksum. Checksums are CRC-32C, masked as TensorFlow does.

Source: tensorflow/core/lib/io/record_writer.h and the TFRecord guide.
"""

from __future__ import annotations

import struct

import google_crc32c

HEADER_BYTES = 12
FOOTER_BYTES = 4

_MASK_DELTA = 0xA282EAD8


class BrokenRecord(ValueError):
    """A record's checksum does not match its bytes, or it is cut short."""


def frame(payload: bytes) -> bytes:
    """One whole record."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, _checksum(length), payload, _checksum(payload)))


def checked_payload(payload_and_footer: bytes) -> bytes:
    """The payload of what follows a header. Raises BrokenRecord."""
    payload, footer = payload_and_footer[:-FOOTER_BYTES], payload_and_footer[-FOOTER_BYTES:]
    if _checksum(payload) != footer:
        raise BrokenRecord("a record's content is damaged")
    return payload


def _checksum(data: bytes) -> bytes:
    crc: int = google_crc32c.value(data)
    return (((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF).to_bytes(4, "little")
