"""Many connections at once, from one event loop. `python flood.py HOST PORT SECONDS` plays slow clients, as JSON."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import pytest

Address = tuple[str, int]

CONNECTING = 500
"""at a time: the backlog of a listening socket has its limits"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Closed:
    """When the server closed a slow client's connection, in seconds after it was opened, and the status it gave (or 0)."""

    kind: str
    seconds: float
    status: int


def allow_connections(count: int) -> None:
    """Skips the test where this process may not have so many files open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < count + 500:
        pytest.skip(f"this machine allows {most} open files, {count} connections need more (ulimit -Hn)")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), most))


def request(address: Address, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    """A whole HTTP request, after which the server closes the connection."""
    lines = [
        f"{'POST' if body else 'GET'} {path} HTTP/1.1",
        f"Host: {address[0]}:{address[1]}",
        "Connection: close",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join((*lines, "", "")).encode() + body


async def all_at_once(address: Address, requests: Sequence[bytes]) -> list[Answer | None]:
    """Opens a connection for each request, then sends them all; None where the server gave no whole answer."""
    connecting = asyncio.Semaphore(CONNECTING)
    connected = 0
    ready = asyncio.Event()

    async def one(content: bytes) -> Answer | None:
        nonlocal connected
        try:
            async with connecting:
                reader, writer = await asyncio.open_connection(*address)
        finally:
            connected += 1
            if connected == len(requests):
                ready.set()
        await ready.wait()
        writer.write(content)
        try:
            return _parse(await reader.read())
        except ConnectionError:
            return None
        finally:
            writer.close()

    return await asyncio.gather(*(one(content) for content in requests))


async def idle(address: Address, count: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Holds connections that say nothing open."""
    connecting = asyncio.Semaphore(CONNECTING)

    async def one() -> asyncio.StreamWriter:
        async with connecting:
            return (await asyncio.open_connection(*address))[1]

    writers = await asyncio.gather(*(one() for _ in range(count)))
    try:
        await meanwhile()
    finally:
        for writer in writers:
            writer.close()


def _parse(content: bytes) -> Answer | None:
    head, end, body = content.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    if len(body) != int(headers.get("content-length", len(body))):
        return None
    return Answer(int(first.split()[1]), headers, body)


def slow_requests(address: Address) -> dict[str, tuple[bytes, bytes]]:
    """Kinds of slow clients: what each sends at once, and then byte by byte."""
    head = f"Host: {address[0]}:{address[1]}\r\n"
    form = "Content-Type: multipart/form-data; boundary=frontier\r\n"
    part = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' + b"a" * 1000
    length = "Content-Length: 100000\r\n\r\n"
    return {
        "head": (b"", f"GET /livez HTTP/1.1\r\nX-Padding: {'a' * 1000}\r\n{head}\r\n".encode()),
        "job": (f"POST /api/v1/jobs HTTP/1.1\r\n{head}{length}".encode(), b" " * 1000),
        "picture": (f"POST /api/v1/predict/lenet?dataset=digits HTTP/1.1\r\n{head}{length}".encode(), b"a" * 1000),
        "upload": (f"POST /api/v1/datasets HTTP/1.1\r\n{head}{form}{length}".encode(), part),
        "answered": (f"GET /livez HTTP/1.1\r\n{head}{length}".encode(), b"a" * 1000),
    }


async def slow_clients(address: Address, count: int, most_seconds: float) -> list[Closed]:
    """Each sends one byte a second until the server closes the connection."""

    async def one(kind: str, start: bytes, rest: bytes) -> Closed:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(start)
        answer = b""
        with suppress(ConnectionError):
            for second in range(int(most_seconds)):
                try:
                    async with asyncio.timeout_at(asyncio.get_running_loop().time() + 1.0):
                        while data := await reader.read(65_536):
                            answer += data
                    break
                except TimeoutError:
                    writer.write(rest[second : second + 1])
        writer.close()
        seconds = time.monotonic() - began
        return Closed(kind, seconds, int(answer.split(b" ", 2)[1]) if answer else 0)

    kinds = list(slow_requests(address).items())
    return await asyncio.gather(
        *(one(kind, *parts) for kind, parts in (kinds[number % len(kinds)] for number in range(count)))
    )


def statuses(answers: Sequence[Answer | None]) -> Counter[int]:
    return Counter(0 if answer is None else answer.status for answer in answers)


if __name__ == "__main__":
    host, port, count, seconds = sys.argv[1:]
    closed = asyncio.run(slow_clients((host, int(port)), int(count), float(seconds)))
    json.dump([asdict(one) for one in closed], sys.stdout)
