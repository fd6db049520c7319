"""The limits on a request's head, of size and of time, over real connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.protocol import LARGEST_HEAD, LimitedHttpProtocol


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the number of bytes in the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    content = b"%d bytes" % size
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def answer_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Impatient(LimitedHttpProtocol):
    patience = 1.0


@contextmanager
def serving(app: Any, protocol: type[LimitedHttpProtocol]) -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(count, LimitedHttpProtocol) as address:
        yield address


@pytest.fixture(scope="module")
def impatient() -> Iterator[tuple[str, int]]:
    """Answers without reading a body."""
    with serving(answer_at_once, Impatient) as address:
        yield address


def head(size: int, *lines: str) -> bytes:
    """A request's head of exactly so many bytes."""
    start = "\r\n".join(["POST / HTTP/1.1", "Host: x", *lines, "X-Long: "])
    return start.encode() + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


def talk(address: tuple[str, int], *pieces: bytes, until: bytes = b"") -> bytes:
    """What comes back, up to the end of the connection or to `until`."""
    received = b""
    with socket.create_connection(address, timeout=10) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while not (until and received.endswith(until)) and (data := connection.recv(65_536)):
                received += data
        except ConnectionError:  # it was closed while more was on its way
            pass
    return received


def accepted(address: tuple[str, int], start: bytes, size: int) -> int:
    """How many of so many bytes can be sent after `start`."""
    sent = 0
    with socket.create_connection(address, timeout=10) as connection, suppress(ConnectionError):
        connection.sendall(start)
        while sent < size:
            sent += connection.send(b"a" * 65_536)
    return sent


class TestHeaders:
    def test_up_to_the_limit_they_pass(self, address: tuple[str, int]) -> None:
        assert b"200 OK" in talk(address, head(LARGEST_HEAD, "Content-Length: 0"), until=b"0 bytes")

    def test_past_it_the_connection_ends_with_a_problem(self, address: tuple[str, int]) -> None:
        answer = talk(address, head(LARGEST_HEAD + 1))
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert b'"code":"headers_too_large"' in answer

    def test_one_that_does_not_end_is_not_collected(self, address: tuple[str, int]) -> None:
        assert accepted(address, b"GET / HTTP/1.1\r\nX-Long: ", 200_000_000) < 20_000_000

    def test_a_long_path_counts(self, address: tuple[str, int]) -> None:
        assert (
            b"431" in talk(address, b"GET /" + b"a" * LARGEST_HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n").split(b"\r\n")[0]
        )

    def test_each_request_of_a_connection_has_its_own_limit(self, address: tuple[str, int]) -> None:
        request = head(LARGEST_HEAD // 2, "Content-Length: 3") + b"abc"
        last = head(LARGEST_HEAD // 2, "Content-Length: 3", "Connection: close") + b"abc"
        assert talk(address, request * 4 + last).count(b"3 bytes") == 5


class TestBodies:
    @pytest.mark.parametrize("size", [LARGEST_HEAD, 3_000_000])
    def test_a_large_body_is_no_head(self, size: int, address: tuple[str, int]) -> None:
        lines = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        assert b"200 OK" in talk(address, lines + b"a" * size, until=b"%d bytes" % size)

    def test_so_is_one_in_chunks(self, address: tuple[str, int]) -> None:
        chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"a" * size) for size in (1, 1_000_000, 70_000))
        lines = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b"200 OK" in talk(address, lines + chunks + b"0\r\n\r\n", until=b"1070001 bytes")

    def test_trailers_are_not_collected_either(self, address: tuple[str, int]) -> None:
        lines = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Long: "
        assert talk(address, lines, b"a" * LARGEST_HEAD * 2) == b""


def trickle(address: tuple[str, int], start: bytes, piece: bytes = b"") -> tuple[bytes, float]:
    """Sends `start`, then `piece` ten times a second until the server closes. Returns what it sent, and the seconds."""
    received = b""
    began = time.monotonic()
    with socket.create_connection(address, timeout=0.1) as connection, suppress(ConnectionError):
        connection.sendall(start)
        while True:
            try:
                data = connection.recv(65_536)
            except TimeoutError:
                connection.sendall(piece)
                continue
            if not data:
                break
            received += data
    return received, time.monotonic() - began


class TestPatience:
    """What an application reads has a deadline of its own."""

    def test_a_head_that_takes_too_long_is_408(self, impatient: tuple[str, int]) -> None:
        answer, seconds = trickle(impatient, b"GET / HTTP/1.1\r\nX-Long: ", b"a")
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b'"code":"request_timeout"' in answer
        assert 0.9 < seconds < 5

    def test_so_is_the_head_of_a_later_request(self, impatient: tuple[str, int]) -> None:
        answer, seconds = trickle(impatient, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT", b"")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"HTTP/1.1 408 Request Timeout\r\n" in answer
        assert 0.9 < seconds < 5

    def test_a_connection_that_says_nothing_is_closed(self, impatient: tuple[str, int]) -> None:
        answer, seconds = trickle(impatient, b"")
        assert answer == b""
        assert 0.9 < seconds < 5

    def test_empty_lines_do_not_keep_it_open(self, impatient: tuple[str, int]) -> None:
        answer, seconds = trickle(impatient, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert 0.9 < seconds < 5

    def test_nor_does_a_body_that_nobody_reads(self, impatient: tuple[str, int]) -> None:
        lines = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        answer, seconds = trickle(impatient, lines, b"a")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert 0.9 < seconds < 5

    def test_many_prompt_requests_outlast_it(self, impatient: tuple[str, int]) -> None:
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        began = time.monotonic()
        with socket.create_connection(impatient, timeout=10) as connection:
            while time.monotonic() - began < 2 * Impatient.patience:
                connection.sendall(request)
                answer = b""
                while not answer.endswith(b"ok"):
                    data = connection.recv(65_536)
                    assert data
                    answer += data
