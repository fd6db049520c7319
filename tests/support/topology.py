"""Where a stack keeps its rows and sends its wake-ups: on a laptop, or on servers as in a cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import Protocol

import httpx2
from servers import Postgres


class Topology(Protocol):
    api_processes: int

    def environment(self, exits: ExitStack) -> dict[str, str]:
        """The settings that lead one stack to servers of its own, which go with `exits`."""


class Laptop:
    """SQLite and the embedded Valkey in the data folder; one API process."""

    api_processes = 1

    def environment(self, exits: ExitStack) -> dict[str, str]:
        return {}


class Cluster:
    """PostgreSQL, Valkey on TCP, two API processes."""

    api_processes = 2

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def environment(self, exits: ExitStack) -> dict[str, str]:
        port = exits.enter_context(reserved_port())
        return {
            "KERASD_DATABASE_URL": exits.enter_context(self._postgres.database(migrated=True)),
            "KERASD_BROKER_URL": f"redis://127.0.0.1:{port}/0",
        }


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that a server of this test may listen on again and again, and that nothing else is given meanwhile."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, so both may bind it
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class Alternating(httpx2.HTTPTransport):
    """Sends each request to the next of several servers, as a load balancer in front of them does."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__()
        self._turns = cycle([httpx2.URL(url) for url in urls])

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        turn = next(self._turns)
        request.url = request.url.copy_with(host=turn.host, port=turn.port)
        return super().handle_request(request)
