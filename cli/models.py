"""`kerasd models`, `model`, `promote`, `rollback`, `unpin` and `gate`."""

from __future__ import annotations

from dataclasses import asdict

from cli.model_view import model_table, print_model
from cli.output import stdout
from cli.server import ServerUrl, server
from client import Model


def models(*, json: bool = False, url: ServerUrl = None) -> None:
    """List models with the version that predictions use.

    Args:
        json: print JSON instead of a table.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        found = client.models()
    console = stdout()
    if json:
        console.print_json(data=[asdict(each) for each in found], default=str)
    elif found:
        console.print(model_table(found))
    else:
        console.print("no models")


def model(name: str, /, *, json: bool = False, url: ServerUrl = None) -> None:
    """A model's versions, and the card of the one that predictions use.

    Args:
        name: of the model: <view>.<architecture>.
        json: print JSON instead of tables.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        found = client.model(name)
        best = client.model_version(name, found.best)
    console = stdout()
    if json:
        console.print_json(data={**asdict(found), "card": best.card}, default=str)
    else:
        print_model(found, best, console)


def promote(name: str, version: int, /, *, url: ServerUrl = None) -> None:
    """Have predictions use a version, and pin it: none that is published later replaces it.

    Args:
        name: of the model.
        version: to serve.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        _tell(client.promote(name, version))


def rollback(name: str, /, *, url: ServerUrl = None) -> None:
    """Go back to the version that was served before, and pin it; once more goes back one further.

    Args:
        name: of the model.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        _tell(client.rollback(name))


def unpin(name: str, /, *, url: ServerUrl = None) -> None:
    """Leave the choice to the rules again: the best of all versions serves at once.

    Args:
        name: of the model.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        _tell(client.unpin(name))


def gate(name: str, margin: float, /, *, url: ServerUrl = None) -> None:
    """Say by how much a version that is published from now on must beat the served one; 0 takes any that is better.

    Args:
        name: of the model.
        margin: of its objective's metric: 0.01 is a point of an accuracy.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        changed = client.gate(name, margin)
    print(f"{changed.name} serves version {changed.best} until one beats it by {changed.margin:g}")


def _tell(changed: Model) -> None:
    print(f"{changed.name} serves version {changed.best}{', pinned' if changed.pinned else ''}")
