"""The settings as the command line reads them: its options win over the environment, faults are told plainly."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from cli.failures import INVALID, CommandFailed
from core.settings import Settings

DEFAULT_PORT = 8000
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"


def load_settings(**options: Any) -> Settings:
    """Settings with those options that are not None in place of the environment's. Raises CommandFailed."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = [_fault(entry["loc"], entry["msg"], given) for entry in error.errors(include_url=False)]
        raise CommandFailed("the settings have faults:\n" + "\n".join(faults), INVALID) from None
    except SettingsError as error:
        raise CommandFailed(f"the settings have faults:\n  {_not_json(str(error))}", INVALID) from None


def hint(command: str, url: str) -> str:
    """A command to type, with the server's address where `kerasd` would not assume it."""
    return command if url == DEFAULT_URL else f"{command} --url {url}"


def server_url(settings: Settings) -> str:
    """Where a client on this machine finds the server that these settings describe."""
    return http_url(settings.host, settings.port or DEFAULT_PORT)


def http_url(host: str, port: int) -> str:
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def reachable(host: str) -> str:
    """A host to connect to for one that is listened on: every address includes the loopback."""
    try:
        address = ip_address(host)
    except ValueError:
        return host or "127.0.0.1"
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _fault(location: tuple[int | str, ...], message: str, given: dict[str, Any]) -> str:
    name = str(location[0]) if location else ""
    where = f"--{name.removesuffix('_dir')}" if name in given else f"KERASD_{name.upper()}"
    return f"  {where}: {message.replace('Input should be', 'must be')}"


def _not_json(message: str) -> str:
    """Pydantic's words for a variable that holds no JSON, naming the variable."""
    named = re.search(r'field "(\w+)"', message)
    return f"KERASD_{named.group(1).upper()}: must be JSON" if named else message
