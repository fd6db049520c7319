"""`kerasd doctor`: the settings with their sources, and whether this machine can run kerasd."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict, dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from cli.checks import Check, Verdict, run_checks
from cli.configuration import load_settings, server_url
from cli.failures import FAILED
from cli.masking import masked
from cli.output import stdout
from cli.server import ServerUrl
from client import Client, ClientError
from core.settings import Settings

STYLES = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.BROKEN: "bold red"}


@dataclass(frozen=True)
class Setting:
    """One setting as it is in force; its secrets are masked."""

    name: str
    value: str
    source: str


def doctor(*, json: bool = False, url: ServerUrl = None) -> int:
    """Check the set-up of this machine. Exit code 1 when something essential is broken.

    Args:
        json: print JSON instead of tables.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    settings = load_settings()
    rows = described(settings)
    checks = [*run_checks(settings), _server(url or server_url(settings))]
    broken = any(check.verdict is Verdict.BROKEN for check in checks)
    if json:
        report = {
            "ok": not broken,
            "settings": [asdict(row) for row in rows],
            "checks": [asdict(check) for check in checks],
        }
        print(jsonlib.dumps(report, indent=2))
    else:
        _show(rows, checks)
    return FAILED if broken else 0


def described(settings: Settings) -> list[Setting]:
    """Every setting, with what it comes to where it was left open."""
    in_force = {
        "database_url": settings.database,
        "broker_url": settings.broker,
        "artifacts_url": settings.artifacts,
    }
    return [
        Setting(
            f"KERASD_{name.upper()}",
            masked(_shown(in_force.get(name, getattr(settings, name)))),
            "environment" if name in settings.model_fields_set else "default",
        )
        for name in Settings.model_fields
    ]


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, dict):
        return jsonlib.dumps({key: str(item) for key, item in value.items()})
    return str(value).lower() if isinstance(value, bool) else str(value)


def _server(url: str) -> Check:
    try:
        with Client(url) as client:
            answer = client.ready()
    except (ClientError, ValueError) as error:
        return Check("server", Verdict.NOTE, str(error).partition("\n")[0])
    return Check("server", Verdict.OK, f"{url} is {answer.get('status', 'ready')}")


def _show(settings: list[Setting], checks: list[Check]) -> None:
    console = stdout()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("setting", "value", "source"):
        table.add_column(heading, overflow="fold")
    for row in settings:
        table.add_row(row.name, row.value, row.source)
    console.print(table)
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("check", "", "found"):
        found.add_column(heading, overflow="fold")
    for check in checks:
        found.add_row(check.name, Text(check.verdict, style=STYLES[check.verdict]), check.detail)
    console.print(found)
