"""Receiving a request body within its limits."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import Message, Receive

from service.problems import HttpError

DEADLINE_SECONDS = 30.0
BODIES_IN_MEMORY = 8
"""as many of the largest as are held at once, received or still arriving; what comes on top is refused for now."""


class ClientGone(Exception):
    """The connection closed before the body was there; nobody waits for an answer."""


class Bodies:
    """Receives bodies of up to `limit` bytes and knows how many bytes are held for requests being answered."""

    def __init__(self, limit: int, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._limit = limit
        self._deadline = deadline_seconds
        self._most_held = BODIES_IN_MEMORY * limit
        self._held = 0

    async def receive(self, receive: Receive, declared: int) -> bytes:
        """The whole body; the caller releases it. `declared` is the Content-Length, 0 if unknown, trusted only to refuse.

        Raises HttpError: 413 past the limit, 408 past the deadline, 503 while too many bytes are held; ClientGone.
        """
        if declared > self._limit:
            raise self.too_large()
        try:
            async with asyncio.timeout(self._deadline):
                message = await receive()
                if message.get("more_body") or message["type"] != "http.request":
                    return await self._collect(message, receive)
        except TimeoutError:
            detail = f"the body did not arrive within {self._deadline:g} s"
            raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail) from None
        body: bytes = message.get("body", b"")
        self._receive(body, len(body))
        return body

    def hold(self, size: int) -> None:
        """Counts bytes that are not received but made of a body. Raises HttpError (503) while too many are held."""
        if self._held + size > self._most_held:
            detail = "too many large bodies are being received; try again"
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", detail)
        self._held += size

    def release(self, size: int) -> None:
        """So many of the held bytes are no longer needed."""
        self._held -= size

    def too_large(self) -> HttpError:
        detail = f"the body is larger than the limit of {self._limit} bytes"
        return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", detail)

    async def _collect(self, message: Message, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while message["type"] == "http.request":
                chunk = message.get("body", b"")
                size += len(chunk)
                self._receive(chunk, size)
                chunks.append(chunk)
                if not message.get("more_body"):
                    return b"".join(chunks)
                message = await receive()
        except BaseException:
            self._held -= sum(map(len, chunks))
            raise
        self._held -= size
        raise ClientGone

    def _receive(self, chunk: bytes, size: int) -> None:
        """`size`: of the body so far, with the chunk."""
        if size > self._limit:
            raise self.too_large()
        self.hold(len(chunk))
