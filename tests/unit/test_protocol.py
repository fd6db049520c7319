"""The limit on headers, over real connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

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


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(count, http=LimitedHttpProtocol, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


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
