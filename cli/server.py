"""The server that a command talks to, and its errors as exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter

from cli.configuration import load_settings, server_url
from cli.failures import FAILED, INVALID, UNREACHABLE, CommandFailed
from client import ApiError, Client, UnexpectedAnswer, Unreachable

ServerUrl = Annotated[str | None, Parameter(env_var="KERASD_URL")]


@contextmanager
def server(url: str | None) -> Iterator[Client]:
    """A client of the server at `url`, by default the one that this machine's settings describe.

    What goes wrong leaves as CommandFailed: refused input with exit code 2, no server with 3.
    """
    try:
        client = Client(url or server_url(load_settings()))
    except ValueError as error:
        raise CommandFailed(f"--url: {error}", INVALID) from None
    with client, told_plainly():
        yield client


@contextmanager
def told_plainly() -> Iterator[None]:
    """The client's errors as the command's."""
    try:
        yield
    except ApiError as error:
        raise CommandFailed(str(error), INVALID if error.status < 500 else FAILED) from None
    except (Unreachable, UnexpectedAnswer) as error:
        raise CommandFailed(str(error), UNREACHABLE) from None
