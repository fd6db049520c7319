"""Runs the API in this process."""

from __future__ import annotations

import argparse
import resource
import socket
import sys
from threading import Event
from types import FrameType

import structlog
import uvicorn
from pydantic import ValidationError

from core.logs import configure_logging
from core.settings import Settings
from service.app import create_app
from service.interpreter import tune_interpreter
from service.protocol import LimitedHttpProtocol

SHUTDOWN_SECONDS = 3

ACCEPTED_A_TURN = 8
"""new connections, at most. uvloop takes one a turn from each listening socket (libuv since 1.45), and a turn in which many
predictions are answered is long: of 64 clients that came at once the last waited for 64 turns, more than a second."""


class Server(uvicorn.Server):
    """Tells `stopping` of the signal to end, so that event streams and long polls do not keep it waiting."""

    def __init__(self, config: uvicorn.Config, stopping: Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.set()
        super().handle_exit(sig, frame)


def main() -> None:
    """Reads the command line and the settings, and serves until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m service")
    parser.add_argument("--fd", type=int, help="file descriptor of a listening socket")
    arguments = parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"kerasd: the settings have faults:\n{error}")
    configure_logging(settings.log_format)
    allow_many_connections()
    stopping = Event()
    config = uvicorn.Config(
        create_app(settings, stopping),
        http=LimitedHttpProtocol,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    tune_interpreter()
    structlog.get_logger("kerasd.api").info("the API starts", database=settings.database.split("@")[-1])
    # Not uvicorn's own fd option: that takes the socket for a unix one and leaves Nagle's algorithm on, which with delayed
    # acknowledgements makes every small answer wait 40 ms.
    handed_over = None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
    listeners = handed_over or bound(settings.host, settings.port)
    Server(config, stopping).run(sockets=[each for listener in listeners for each in with_duplicates(listener)])


def bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, which does not listen yet. Ends the process when one is taken."""
    sockets = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                listener = socket.socket(family, kind, protocol)
            except OSError:  # a family that this machine does not have, such as IPv6
                continue
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
    except OSError as error:
        for listener in sockets:
            listener.close()
        sys.exit(f"kerasd: the API cannot use port {port} of {host}: {error}")
    if not sockets:
        sys.exit(f"kerasd: this machine has none of the addresses of {host}")
    return sockets


def with_duplicates(listener: socket.socket) -> list[socket.socket]:
    """The same socket as often as connections are to be accepted a turn."""
    return [listener, *(listener.dup() for _ in range(ACCEPTED_A_TURN - 1))]


def allow_many_connections() -> None:
    """Raises the limit of open files, 1,024 on most systems, as far as one may: each connection is one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
