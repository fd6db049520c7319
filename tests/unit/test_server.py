"""How the API's process takes connections."""

from __future__ import annotations

import asyncio
import itertools
import socket
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop

from service.server import bound, with_duplicates

CLIENTS = 64


async def turns_until_all_are_accepted(listeners: list[socket.socket]) -> int:
    """Of the event loop, which is never idle, as under load."""
    loop = asyncio.get_running_loop()
    accepted: list[asyncio.BaseTransport] = []
    left = itertools.count(1)
    all_left = asyncio.Event()

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            if next(left) == CLIENTS:
                all_left.set()

    servers = [await loop.create_server(Accepting, sock=listener) for listener in listeners]
    turns = 0
    while len(accepted) < CLIENTS:
        await asyncio.sleep(0)
        turns += 1
    for transport in accepted:
        transport.close()
    for server in servers:
        server.close()
    await all_left.wait()
    for server in servers:
        await server.wait_closed()
    return turns


def test_of_many_clients_that_come_at_once_none_waits_for_as_many_turns() -> None:
    with ExitStack() as clients:
        listener = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
        for _ in range(CLIENTS):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        turns = uvloop.run(turns_until_all_are_accepted(with_duplicates(listener)))
    assert turns <= CLIENTS / 4


def addresses(*found: tuple[int, tuple[str, int]]) -> Any:
    """A name server's answer."""
    return lambda *_, **__: [(family, socket.SOCK_STREAM, 0, "", address) for family, address in found]


class TestBound:
    def test_each_address_of_the_host_has_a_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        both = addresses((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("127.0.0.2", 0)))
        monkeypatch.setattr(socket, "getaddrinfo", both)
        with ExitStack() as sockets:
            listeners = [sockets.enter_context(listener) for listener in bound("two", 0)]
            assert [listener.getsockname()[0] for listener in listeners] == ["127.0.0.1", "127.0.0.2"]

    def test_a_family_that_the_machine_does_not_have_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        unknown = 45
        found = addresses((unknown, ("::1", 0)), (socket.AF_INET, ("127.0.0.1", 0)))
        monkeypatch.setattr(socket, "getaddrinfo", found)
        (listener,) = bound("mixed", 0)
        with listener:
            assert listener.family == socket.AF_INET
        monkeypatch.setattr(socket, "getaddrinfo", addresses((unknown, ("::1", 0))))
        with pytest.raises(SystemExit, match="none of the addresses of elsewhere"):
            bound("elsewhere", 0)

    def test_a_taken_port_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(SystemExit, match=f"cannot use port {port} of 127.0.0.1"):
                bound("127.0.0.1", port)
