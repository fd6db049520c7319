"""Files of the store as answers: streamed, and checked against their recorded sha256 on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import Response
from fastapi.responses import StreamingResponse

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt
from service.watching import known_etags


@dataclass(frozen=True)
class Download:
    """A file of the store, and what the client shall call it."""

    path: str
    sha256: str
    bytes: int
    filename: str
    media_type: str = "application/octet-stream"


def answer_download(store: ArtifactStore, download: Download, if_none_match: str | None) -> Response:
    """The file, or 304 where the caller has it. Raises ArtifactCorrupt where that shows in its first block.

    Of a larger file the last block is held back until all of it is known to be right; else the connection breaks off.
    """
    etag = f'"{download.sha256}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in known_etags(if_none_match):
        return Response(status_code=304, headers=headers)
    checked = _checked(store, download)
    first = next(checked)
    headers["Content-Length"] = str(download.bytes)
    headers["Content-Disposition"] = f'attachment; filename="{download.filename}"'
    return StreamingResponse(_joined(first, checked), media_type=download.media_type, headers=headers)


def _checked(store: ArtifactStore, download: Download) -> Iterator[bytes]:
    """The blocks, each given once the next is there, the last once all match. Raises ArtifactCorrupt."""
    content, size, held = hashlib.sha256(), 0, b""
    for block in store.blocks(download.path):
        if held:
            yield held
        content.update(block)
        size, held = size + len(block), block
    if size != download.bytes or content.hexdigest() != download.sha256:
        raise ArtifactCorrupt(f"artifact {download.path} does not match its recorded sha256")
    yield held


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
