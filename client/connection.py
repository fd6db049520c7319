"""Requests that survive what passes: a connection refused or cut, a server that is restarting.

Tried again are requests that are safe to repeat, and those that never reached a server. Between tries the pause doubles;
a `Retry-After` is obeyed up to MAX_PAUSE_SECONDS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import IO, Any
from urllib.parse import urlsplit

import httpx2

from client.errors import UnexpectedAnswer, Unreachable, problem_of

TRIES = 5
FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 10.0
ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 5.0

FilePart = tuple[str, tuple[str, IO[bytes], str]]
"""A file of a form: the field, and (file name, opened file, content type). It is sent as it is read."""

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Connection:
    """One server's address and a pool of connections to it."""

    def __init__(
        self, base_url: str, transport: httpx2.BaseTransport | None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is not an address such as http://127.0.0.1:8000")
        self.url = base_url.rstrip("/")
        self._pause = pause
        # A proxy from the environment has no way to this machine's own loopback.
        self.http = httpx2.Client(
            base_url=self.url,
            transport=transport,
            timeout=patience(ANSWER_SECONDS),
            trust_env=not is_loopback(self.url),
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool = True,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        files: Sequence[FilePart] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> httpx2.Response:
        """The answer, whose status is below 400. A body is `content`, or the fields of a `form` followed by `files`.

        Raises ApiError for any other, Unreachable when no try got one.
        """
        wanted = {key: value for key, value in (params or {}).items() if value is not None}
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                response = self.http.request(
                    method,
                    path,
                    params=wanted,
                    headers=dict(headers or {}),
                    content=content,
                    data=form,
                    files=files,
                    timeout=patience(answer_seconds),
                )
            except httpx2.TransportError as error:
                if last or not (repeatable or isinstance(error, NEVER_SENT)):
                    raise Unreachable(self.url, describe(error)) from None
                self._pause(pause_before(attempt))
                continue
            if last or not (repeatable and _passes(response)):
                return _checked(response)
            self._pause(pause_before(attempt, response))
        raise AssertionError("the last try returns or raises")

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The parsed body of an answer. Raises as `request`, and UnexpectedAnswer when it is not JSON."""
        response = self.request(method, path, **options)
        try:
            return response.json()
        except ValueError:
            kind = response.headers.get("content-type", "no content type")
            raise UnexpectedAnswer(self.url, f"{kind} instead of JSON") from None

    def close(self) -> None:
        self.http.close()


def patience(answer_seconds: float) -> httpx2.Timeout:
    """How long to wait: for the next byte of an answer as said, for a connection a few seconds."""
    return httpx2.Timeout(answer_seconds, connect=CONNECT_SECONDS)


def pause_before(attempt: int, response: httpx2.Response | None = None) -> float:
    """Seconds to wait after the failed try number `attempt` (from 1)."""
    asked = response.headers.get("retry-after", "") if response is not None else ""
    if asked.isdecimal():
        return min(float(asked), MAX_PAUSE_SECONDS)
    return float(min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), MAX_PAUSE_SECONDS))


def describe(error: httpx2.TransportError) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return "it did not answer in time"
    return str(error) or type(error).__name__


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _passes(response: httpx2.Response) -> bool:
    """Whether the server said that trying again may help: away for a moment, or still busy with the same key."""
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return True
    return response.status_code == HTTPStatus.CONFLICT and "retry-after" in response.headers


def _checked(response: httpx2.Response) -> httpx2.Response:
    if response.is_error:
        raise problem_of(response.status_code, response.reason_phrase, response.content)
    return response
