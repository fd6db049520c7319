"""A file's bytes, decompressed, read forward only, each of them counted against the limits: also those skipped.

Decompressors produce no more than what is asked for, and xz may not ask for more memory than its strongest preset
needs, so a bomb costs a chunk, not its size.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import IO, Protocol, Self

from worker.imports.formats.faults import rejection
from worker.imports.formats.opening import Meter
from worker.imports.source import Limits, Rejected, UploadedFile

RATIO_GRACE_BYTES = 64 << 20
"""may be expanded before the ratio counts: small sets of plain pictures compress well"""

CHUNK_BYTES = 1 << 20
_XZ_MEMORY_BYTES = 128 << 20
_XZ_INPUT_BYTES = 64 << 10


class Reader(Protocol):
    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, none at the end."""


class _XzStream(io.RawIOBase):
    """Like lzma.LZMAFile, which cannot limit the memory that a header asks for."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._decompressor = _xz()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while True:
            if self._decompressor.eof and not self._next_stream():
                return 0
            data = self._source.read(_XZ_INPUT_BYTES) if self._decompressor.needs_input else b""
            if not data and self._decompressor.needs_input:
                raise EOFError("the xz stream ends too early")
            produced = self._decompressor.decompress(data, len(buffer))
            if produced:
                buffer[: len(produced)] = produced
                return len(produced)

    def _next_stream(self) -> bool:
        """Whether another stream follows the one that ended (xz files may be concatenated)."""
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest:
            data = self._source.read(_XZ_INPUT_BYTES)
            if not data:
                return False
            rest = data.lstrip(b"\0")
        self._decompressor = _xz()
        self._source.seek(-len(rest), io.SEEK_CUR)
        return True


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda source: gzip.GzipFile(fileobj=source, mode="rb"),  # type: ignore[dict-item,return-value]
    b"BZh": lambda source: bz2.BZ2File(source, "rb"),
    b"\xfd7zXZ\x00": lambda source: io.BufferedReader(_XzStream(source), _XZ_INPUT_BYTES),
}


class ForwardStream:
    """Opens `file`, decompressing gzip, bzip2 and xz by their first bytes. Every fault is raised as Rejected."""

    def __init__(self, file: UploadedFile, limits: Limits, meter: Meter | None = None) -> None:
        self._file, self._limits, self._meter = file, limits, meter
        self._position = self._metered = 0
        self.last, self.short = b"", False
        """what the last read gave, and whether that was less than it asked for: the end"""
        self._source = file.path.open("rb")
        head = self._source.read(6)
        self._source.seek(0)
        opener = next((opener for magic, opener in _DECOMPRESSORS.items() if head.startswith(magic)), None)
        self.compressed = opener is not None
        self._stream = self._source if opener is None else opener(self._source)

    def read(self, size: int, /) -> bytes:
        """`size` bytes or CHUNK_BYTES, whichever is less, and fewer at the end."""
        size = min(size, CHUNK_BYTES)
        self.last = self._read(size)
        self.short = len(self.last) < size
        self._position += len(self.last)
        self._check_limits()
        return self.last

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        """Skips to `position`, or to the end when that comes first."""
        if position < self._position:
            raise rejection(self._file.name, "damaged_archive", "a header in it points backwards")
        while self._position < position and self.read(position - self._position):
            pass
        return self._position

    def drain(self) -> None:
        """Reads to the end, so that the checksum there is seen."""
        while self.read(CHUNK_BYTES):
            pass

    def close(self) -> None:
        self._stream.close()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def truncated(self) -> Rejected:
        return rejection(self._file.name, "truncated_archive", "it ends too early: was it copied or sent completely?")

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except EOFError:
            raise self.truncated() from None
        except (zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise rejection(self._file.name, "damaged_archive", f"it cannot be decompressed: {error}") from None

    def _check_limits(self) -> None:
        consumed = self._source.tell()
        if self._meter is not None:
            self._meter.advance(consumed - self._metered)
            self._metered = consumed
        check_expansion(self._file.name, self._position, consumed, self._limits)


def check_expansion(name: str, expanded: int, compressed: int, limits: Limits) -> None:
    """Raises Rejected when `compressed` bytes became more than the limits let them."""
    if expanded > limits.expanded_bytes:
        raise rejection(name, "too_large", f"it expands to more than the limit of {limits.expanded_bytes} bytes")
    if expanded > RATIO_GRACE_BYTES and expanded > limits.ratio * compressed:
        detail = f"it expands to more than {limits.ratio} times its size, as no set of pictures does"
        raise rejection(name, "compression_ratio", detail)
