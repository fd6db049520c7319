"""uvicorn's HTTP with a limit on headers. It has none: a header is collected in memory for as long as it arrives."""

from __future__ import annotations

import uuid
from http import HTTPStatus

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.problems import MEDIA_TYPE, HttpError, problem

LARGEST_HEAD = 64 << 10
"""bytes of a request line with its headers, or of the trailers of a chunked body"""


class LimitedHttpProtocol(HttpToolsProtocol):
    """Answers 431 and closes the connection when a request's head does not end within LARGEST_HEAD bytes."""

    _head: int | None = 0
    """bytes of the head so far; None while a body arrives"""

    def data_received(self, data: bytes) -> None:
        while self._head is not None and self._head + len(data) > LARGEST_HEAD:
            room = LARGEST_HEAD - self._head
            self._head = LARGEST_HEAD
            super().data_received(data[:room])
            if self.transport.is_closing():
                return
            if self._head == LARGEST_HEAD:
                self._refuse()
                return
            data = data[room:]
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._head = 0  # after the last chunk come trailers

    def on_body(self, body: bytes) -> None:
        self._head = None
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_refusal())
        self.transport.close()


def _refusal() -> bytes:
    detail = f"the request line and headers have more than {LARGEST_HEAD} bytes"
    request_id = uuid.uuid4().hex
    status, body = problem(
        HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail), request_id
    )
    content = orjson.dumps(body)
    lines = (
        f"HTTP/1.1 {status:d} {status.phrase}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(content)}",
        f"x-request-id: {request_id}",
        "connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + content
