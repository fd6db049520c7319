"""What a file is by its first bytes; names are not believed."""

from __future__ import annotations

import struct
import tarfile

from worker.imports.formats.framing import masked_crc

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
STREAM_MAGICS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_OTHER_ARCHIVES = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"MSCF")


def is_tar(head: bytes) -> bool:
    """Whether a valid tar header opens the file. `head` has at least 512 bytes unless the file is shorter."""
    if len(head) < tarfile.BLOCKSIZE:
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def is_archive(head: bytes) -> bool:
    """Of any kind, read here or not."""
    return head.startswith((*ZIP_MAGICS, *STREAM_MAGICS, *_OTHER_ARCHIVES)) or is_tar(head)


def is_tfrecord(head: bytes) -> bool:
    """Whether a record's length comes first, with its checksum."""
    return len(head) >= 12 and masked_crc(head[:8]) == struct.unpack_from("<I", head, 8)[0]


def is_idx(head: bytes) -> bool:
    """Whether it begins like unsigned bytes in one or three dimensions, as MNIST comes."""
    return head.startswith((b"\0\0\x08\x01", b"\0\0\x08\x03"))
