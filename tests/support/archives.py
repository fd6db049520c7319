"""Makes uploads of every accepted format, and broken ones; opens them as an import does."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.imports.formats import open_source
from worker.imports.source import FileError, ImportOptions, Limits, Rejected, Source, UploadedFile

TarMode = Literal["w", "w:gz", "w:bz2", "w:xz"]


@contextmanager
def opened(
    scratch: Path, *files: Path, options: ImportOptions | None = None, limits: Limits | None = None
) -> Iterator[Source]:
    """The source that an import of `files` reads; nothing may be left in `scratch` afterwards."""
    scratch.mkdir(exist_ok=True)
    uploads = [UploadedFile(file.name, file) for file in files]
    try:
        source = open_source(uploads, options or ImportOptions(), limits or Limits(), scratch, lambda _: None)
        try:
            yield source
        finally:
            source.close()
    finally:
        assert list(scratch.iterdir()) == []


def rejected(scratch: Path, *files: Path, **more: Any) -> tuple[FileError, ...]:
    """What an import of `files` is told is wrong with them, at opening or while it reads."""
    try:
        with opened(scratch, *files, **more) as source:
            for _ in source.items():
                pass
    except Rejected as error:
        return error.errors
    raise AssertionError("nothing was found to be wrong")


@contextmanager
def memory_within(limit: int) -> Iterator[None]:
    """Fails when Python allocates `limit` bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def codes(errors: Sequence[FileError]) -> set[str]:
    return {error.code for error in errors}


def picture(color: str | int = "red", kind: str = "PNG", size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(file, kind)
    return file.getvalue()


def write_zip(file: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # as it is: the constructor would cut it at a NUL
            info.compress_type = compression
            archive.writestr(info, content)
    return file


def write_tar(file: Path, members: Mapping[str, bytes], mode: TarMode = "w:gz") -> Path:
    entries = []
    for name, content in members.items():
        info = tarfile.TarInfo(name)
        info.size = len(content)
        entries.append((info, content))
    return write_entries(file, entries, mode)


def write_entries(file: Path, entries: Sequence[tuple[tarfile.TarInfo, bytes]], mode: TarMode = "w:gz") -> Path:
    with tarfile.open(file, mode) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return file


def patched(file: Path, old: bytes, new: bytes) -> Path:
    """Replaces bytes wherever they occur, keeping the length."""
    assert len(old) == len(new)
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))
    return file


def example(image: bytes, label: int, text: bytes | None = None, names: Sequence[str] = ()) -> bytes:
    """A tf.train.Example, written by hand from the wire format."""
    image_name, label_name, text_name = names or ("image/encoded", "image/class/label", "image/class/text")
    features = _feature(image_name, _delimited(1, _delimited(1, image)))
    features += _feature(label_name, _delimited(3, _delimited(1, _varint(label & (1 << 64) - 1))))
    if text is not None:
        features += _feature(text_name, _delimited(1, _delimited(1, text)))
    return _delimited(1, features)


def _feature(name: str, value: bytes) -> bytes:
    return _delimited(1, _delimited(1, name.encode()) + _delimited(2, value))


def _delimited(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def record(data: bytes, length: int | None = None) -> bytes:
    """A TFRecord record; `length` is what it claims to have."""
    header = struct.pack("<Q", len(data) if length is None else length)
    return header + struct.pack("<I", _masked(header)) + data + struct.pack("<I", _masked(data))


def _masked(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_records(file: Path, examples: Sequence[bytes]) -> Path:
    file.write_bytes(b"".join(record(data) for data in examples))
    return file


def rows(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random pixels as CIFAR keeps them."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def as_image(row: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([row[:1024], row[1024:2048], row[2048:]], axis=-1).reshape(32, 32, 3)


def python2_batch(pixels: NDArray[np.uint8], **lists: Sequence[int]) -> bytes:
    """A batch as Python 2's cPickle wrote CIFAR: str and int instead of bytes."""
    count, raw = len(pixels), pixels.tobytes()
    data = b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01"
    data += b"K" + bytes([count]) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06"
    data += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    out = b"\x80\x02}q\x01(U\x04data" + data
    for name, numbers in lists.items():
        out += b"U" + bytes([len(name)]) + name.encode() + b"](" + b"".join(b"K" + bytes([n]) for n in numbers) + b"e"
    return out + b"u."


def python3_batch(table: Mapping[bytes, Any], protocol: int = 2) -> bytes:
    return pickle.dumps(dict(table), protocol=protocol)


def idx(array: NDArray[np.uint8]) -> bytes:
    """An IDX file of unsigned bytes, gzip'd."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes(), 1)
