"""uvicorn's HTTP with limits on what it has none for: the size of a request's head, and the time that it takes to arrive."""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.problems import MEDIA_TYPE, HttpError, problem

LARGEST_HEAD = 64 << 10
"""bytes of a request line with its headers, or of the trailers of a chunked body"""

PATIENCE_SECONDS = 30.0
"""for a request's head, and for the rest of a body that is answered already; while an application reads, it decides."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request's head does not end within LARGEST_HEAD bytes (431) or in time (408)."""

    patience = PATIENCE_SECONDS

    _head: int | None = 0
    """bytes of the head so far; None while a body arrives"""
    _in_head = _in_body = False
    """whether that part of a request has begun to arrive and has not ended"""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._receive(data)
        self._set_deadline()

    def _receive(self, data: bytes) -> None:
        while self._head is not None and self._head + len(data) > LARGEST_HEAD:
            room = LARGEST_HEAD - self._head
            self._head = LARGEST_HEAD
            super().data_received(data[:room])
            if self.transport.is_closing():
                return
            if self._head == LARGEST_HEAD:
                detail = f"the request line and headers have more than {LARGEST_HEAD} bytes"
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail)
                return
            data = data[room:]
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._head = 0  # after the last chunk come trailers

    def on_body(self, body: bytes) -> None:
        self._head = None
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._set_deadline()

    def _set_deadline(self) -> None:
        """Gives the client `patience` from when it first owes something; more bytes do not prolong it."""
        if not self._is_owed():
            self._forget_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.patience, self._give_up)

    def _is_owed(self) -> bool:
        """Whether the client has yet to send something that no application reads."""
        unread = self._in_head or self._in_body or bool(self._head)
        return self.cycle is None or (self.cycle.response_complete and unread)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._in_head:
            detail = f"the request line and headers did not arrive within {self.patience:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail)
        self.transport.close()

    def _refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_refusal(HttpError(status, code, detail)))
        self.transport.close()


def _refusal(error: HttpError) -> bytes:
    request_id = uuid.uuid4().hex
    status, body = problem(error, request_id)
    content = orjson.dumps(body)
    lines = (
        f"HTTP/1.1 {status:d} {status.phrase}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(content)}",
        f"x-request-id: {request_id}",
        "connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + content
