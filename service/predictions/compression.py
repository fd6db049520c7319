"""Bodies that come compressed, and answers to clients who ask for it."""

from __future__ import annotations

import zlib
from functools import lru_cache
from http import HTTPStatus

from service.problems import HttpError

WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""by Content-Encoding; HTTP's deflate is zlib's format."""

PLAIN = (b"", b"identity")
LEVEL = 1
LEAST_BYTES = 256
"""Smaller answers are sent as they are."""


class ExpandsTooFarError(Exception):
    """It holds more bytes than allowed."""


def window_bits(encoding: bytes) -> int:
    """What zlib calls a Content-Encoding. Raises HttpError (415)."""
    bits = WINDOW_BITS.get(encoding.strip().lower())
    if bits is None:
        detail = f"cannot read the Content-Encoding {encoding.decode('latin-1')!r}; send gzip, deflate or none"
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail)
    return bits


def expand(body: bytes, bits: int, most: int) -> bytes:
    """Costs no more memory than `most` bytes and the body. Raises ExpandsTooFarError, HttpError (400)."""
    stream = zlib.decompressobj(bits)
    try:
        expanded = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise _damaged(str(error)) from None
    if len(expanded) > most:
        raise ExpandsTooFarError
    if not stream.eof:
        raise _damaged("it is cut short")
    if stream.unused_data:
        raise _damaged("bytes follow its end")
    return expanded


def _damaged(why: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, "malformed_encoding", f"the body is not what Content-Encoding says: {why}")


@lru_cache(maxsize=64)
def accepted(accept_encoding: bytes) -> bytes:
    """Of gzip and deflate the one that a client ranks first; empty when it wants neither."""
    best, most = b"", 0.0
    for item in accept_encoding.lower().split(b","):
        name, _, parameter = item.partition(b";")
        weight = _weight(parameter.strip())
        if name.strip() in (b"gzip", b"deflate") and weight > most:
            best, most = name.strip(), weight
    return best


def _weight(parameter: bytes) -> float:
    if not parameter.startswith(b"q="):
        return 1.0
    try:
        return float(parameter[2:])
    except ValueError:
        return 0.0


def compress(content: bytes, encoding: bytes) -> bytes:
    stream = zlib.compressobj(LEVEL, wbits=WINDOW_BITS[encoding])
    return stream.compress(content) + stream.flush()
