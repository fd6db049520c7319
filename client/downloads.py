"""Files that the server made, straight to disk: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from client.connection import ANSWER_SECONDS, TRIES, Connection, describe, patience, pause_before
from client.errors import UnexpectedAnswer, Unreachable, problem_of


def download(
    connection: Connection, path: str, params: Mapping[str, Any], target: Path, pause: Callable[[float], None]
) -> int:
    """Writes the file, under another name until it is whole, and tells its bytes. Raises OSError."""
    part = target.with_name(f"{target.name}.part")
    try:
        for attempt in range(1, TRIES + 1):
            try:
                size = _receive(connection, path, params, part)
            except httpx2.TransportError as error:
                if attempt == TRIES:
                    raise Unreachable(connection.url, describe(error)) from None
                pause(pause_before(attempt))
            else:
                part.replace(target)
                return size
        raise AssertionError("the last try returns or raises")
    finally:
        part.unlink(missing_ok=True)


def _receive(connection: Connection, path: str, params: Mapping[str, Any], part: Path) -> int:
    content, size = hashlib.sha256(), 0
    with connection.http.stream("GET", path, params=dict(params), timeout=patience(ANSWER_SECONDS)) as answer:
        if answer.is_error:
            raise problem_of(answer.status_code, answer.reason_phrase, answer.read())
        with part.open("wb") as file:
            for block in answer.iter_raw():
                file.write(block)
                content.update(block)
                size += len(block)
    if answer.headers.get("etag") != f'"{content.hexdigest()}"':
        raise UnexpectedAnswer(connection.url, "a file that is not what its ETag says")
    return size
