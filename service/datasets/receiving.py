"""Receiving a multipart upload: straight to the store, counted as it comes, gone when anything is wrong."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from core.artifacts import ArtifactStore, Writing
from service.multipart import MOST_FILES, MultipartReader, malformed
from service.problems import HttpError

MOST_FIELDS = 100
FIELD_BYTES = 1024
BLOCK_BYTES = 1 << 20
"""collected before the parser and the disk are asked to work, away from the event loop"""
SLOWEST_WINDOW_SECONDS = 30.0
SLOWEST_BYTES = 32 << 10
"""A client that sends less than this in a window is not waited for."""
FORM_BYTES = 1 << 20
"""allowed beside the files' own bytes"""


@dataclass
class ReceivedFile:
    """A file in the store. `name` is what the client called it."""

    name: str
    path: str
    bytes: int = 0
    sha256: str = ""


@dataclass
class Upload:
    """A whole, received form."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[ReceivedFile] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Of the one file, or over the digests of several."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()


async def receive_upload(request: Request, store: ArtifactStore, folder: str, limit: int) -> Upload:
    """Reads the form, its files into `folder` of the store.

    Raises HttpError: 400 for a broken form, 408 for a client that is too slow, 413 past the limit, 507 when the disk is
    full; ClientDisconnect. Whatever it raises, the folder is gone afterwards.
    """
    _refuse_too_large(int(request.headers.get("content-length") or 0), limit)
    form = _Form(store, folder, request.headers.get("content-type", "").encode("latin-1"))
    try:
        async for block in _blocks(request, limit):
            await run_in_threadpool(form.feed, block)
        form.finish()
    except BaseException as error:
        await run_in_threadpool(form.abandon)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            detail = "the disk is full; nothing of the upload was kept"
            raise HttpError(HTTPStatus.INSUFFICIENT_STORAGE, "insufficient_storage", detail) from None
        raise
    return form.upload


async def _blocks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in blocks of about BLOCK_BYTES, within the limit of bytes and of patience."""
    stream = request.stream()
    pending, received = bytearray(), 0
    window = time.monotonic() + SLOWEST_WINDOW_SECONDS
    in_window = 0
    while True:
        try:
            async with asyncio.timeout(max(window - time.monotonic(), 0.001)):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise _too_slow() from None
        if chunk is None:
            break
        received += len(chunk)
        _refuse_too_large(received, limit)
        in_window += len(chunk)
        if in_window >= SLOWEST_BYTES:
            window, in_window = time.monotonic() + SLOWEST_WINDOW_SECONDS, 0
        pending += chunk
        if len(pending) >= BLOCK_BYTES:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending)


def _refuse_too_large(size: int, limit: int) -> None:
    if size > limit + FORM_BYTES:
        detail = f"the upload is larger than the limit of {limit} bytes (KERASD_MAX_UPLOAD_BYTES)"
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "upload_too_large", detail)


def _too_slow() -> HttpError:
    detail = f"fewer than {SLOWEST_BYTES} bytes arrived within {SLOWEST_WINDOW_SECONDS:.0f} s"
    return HttpError(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail)


class _Form(MultipartReader):
    """Sorts the parts: files into the store, short fields into memory."""

    def __init__(self, store: ArtifactStore, folder: str, content_type: bytes) -> None:
        super().__init__(content_type)
        self.upload = Upload()
        self._store = store
        self._folder = folder
        self._field = ""
        self._value = bytearray()
        self._file: tuple[AbstractContextManager[Writing], Writing] | None = None

    def abandon(self) -> None:
        """Removes what was written."""
        if self._file is not None:
            manager, _ = self._file
            self._file = None
            with suppress(ClientDisconnect, OSError):
                manager.__exit__(ClientDisconnect, ClientDisconnect(), None)
        self._store.discard(self._folder)

    def begin_part(self, name: str, filename: str) -> None:
        self._field = name[:64]
        self._value.clear()
        if name != "file":
            return
        number = len(self.upload.files)
        if number == MOST_FILES:
            raise malformed(f"it has more than {MOST_FILES} files")
        path = f"{self._folder}/{number}"
        manager = self._store.writing(path)
        self._file = (manager, manager.__enter__())
        # The client's name is for people only; the file's own is made here.
        name = filename.replace("\\", "/").rsplit("/", 1)[-1][:255]
        name = "".join(letter for letter in name if letter.isprintable()) or f"file {number}"
        self.upload.files.append(ReceivedFile(name, path))

    def part_data(self, data: bytes) -> None:
        if self._file is not None:
            self._file[1].write(data)
            return
        self._value += data
        if len(self._value) > FIELD_BYTES:
            raise malformed(f"the field {self._field!r} is longer than {FIELD_BYTES} bytes")

    def end_part(self) -> None:
        if self._file is not None:
            (manager, writing), self._file = self._file, None
            manager.__exit__(None, None, None)
            self.upload.files[-1].bytes = writing.bytes
            self.upload.files[-1].sha256 = writing.sha256
            return
        self.upload.fields[self._field] = self._value.decode(errors="replace")
        if len(self.upload.fields) > MOST_FIELDS:
            raise malformed(f"it has more than {MOST_FIELDS} fields")
