"""Asking /readyz without ever blocking: one pending request that the API answers once it has started."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable

PAUSE_SECONDS = 0.05
ANSWER_SECONDS = 5.0


class ReadyProbe:
    """Asks again and again until the answer is 200, then calls `on_ready` once."""

    def __init__(self, host: str, port: int, on_ready: Callable[[], None]) -> None:
        self._address = host, port
        self._on_ready = on_ready
        self._socket: socket.socket | None = None
        self._received = b""
        self._asked_at = 0.0
        self._turn_at = 0.0
        """when to ask again, or to give up the present request"""
        self.ready = False

    def tick(self, selector: selectors.BaseSelector, now: float) -> float | None:
        """Moves on if it is time. Returns when to come back; None once ready."""
        if self.ready:
            return None
        if now >= self._turn_at:
            self._end_request(selector)
            self._ask(selector, now)
        return self._turn_at

    def close(self, selector: selectors.BaseSelector) -> None:
        self._end_request(selector)
        self.ready = True

    def _ask(self, selector: selectors.BaseSelector, now: float) -> None:
        host, port = self._address
        self._asked_at, self._turn_at = now, now + PAUSE_SECONDS
        try:
            # The listener is open since before the API started, so connecting takes no time.
            connection = socket.create_connection((host, port), timeout=0.5)
            connection.sendall(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        except OSError:
            return
        connection.setblocking(False)
        self._socket, self._received, self._turn_at = connection, b"", now + ANSWER_SECONDS
        selector.register(connection, selectors.EVENT_READ, lambda: self._read(selector))

    def _read(self, selector: selectors.BaseSelector) -> None:
        if self._socket is None:
            return
        try:
            chunk = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._received += chunk
        if chunk and b"\r\n" not in self._received:
            return
        self._end_request(selector)
        self._turn_at = self._asked_at + PAUSE_SECONDS
        if self._received.startswith(b"HTTP/1.1 200"):
            self.ready = True
            self._on_ready()

    def _end_request(self, selector: selectors.BaseSelector) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(KeyError):
            selector.unregister(self._socket)
        self._socket.close()
        self._socket = None
