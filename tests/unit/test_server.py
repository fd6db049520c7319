"""How the API's process takes connections."""

from __future__ import annotations

import asyncio
import itertools
import socket
from contextlib import ExitStack

import uvloop

from service.server import with_duplicates

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
