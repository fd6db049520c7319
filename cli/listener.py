"""The API's listening socket, opened by `kerasd up` itself: connections wait in it while the API restarts."""

from __future__ import annotations

import errno
import socket

from cli.failures import INVALID, CommandFailed

BACKLOG = 1024


def open_listener(host: str, port: int) -> socket.socket:
    """A socket listening on host and port (0: any free one). Raises CommandFailed with what to do."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise CommandFailed(f"cannot listen on {host}: {error.strerror}", INVALID) from None
    except OSError as error:
        raise CommandFailed(_explain(error, host, port), INVALID) from None


def _explain(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host} is in use: choose another with --port, or --port 0 for any free one"
        case errno.EACCES:
            return f"port {port} may not be opened by this user: choose one from 1024 up with --port"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine: choose another with --host"
    return f"cannot listen on {host} port {port}: {error.strerror}"
