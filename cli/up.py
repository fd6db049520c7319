"""`kerasd up`: the whole of kerasd in one terminal."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from cli.broker import valkey_command
from cli.configuration import hint, http_url, load_settings, reachable
from cli.folder import held_folder
from cli.listener import open_listener
from cli.parts import part_command
from cli.processes import Plan
from cli.readiness import ReadyProbe
from cli.supervisor import OWN_NAME, Supervisor
from cli.terminal import Terminal
from core.settings import Settings

STOP_WORKERS, STOP_API, STOP_BROKER = range(3)
WORKER_GRACE_SECONDS = 10.0
API_GRACE_SECONDS = 6.0
BROKER_GRACE_SECONDS = 5.0
WORKER_DELAY_SECONDS = 3.0
"""Workers start when the API is ready, or after this: importing TensorFlow takes all processors from the API's start."""


def up(
    *,
    data: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 1,
) -> int:
    """Run broker, migrations, API and workers in this terminal until Ctrl-C.

    Args:
        data: folder for everything that is kept; default: KERASD_DATA_DIR or ./kerasd-data.
        host: address that the API listens on; default: KERASD_HOST or 127.0.0.1.
        port: port that the API listens on, 0 for any free one; default: KERASD_PORT or 8000.
        workers: worker processes, which divide the processors. One trains several small jobs side by side (KERASD_SLOTS).
    """
    settings = load_settings(data_dir=data, host=host, port=port)
    if workers > 1:
        threads = (settings.threads or os.cpu_count() or 1) // workers
        settings = settings.model_copy(update={"threads": max(1, threads)})
    with held_folder(settings.data_dir), closing(open_listener(settings.host, settings.port)) as listener:
        plans = planned_parts(settings, listener.fileno(), workers)
        return supervise(settings, listener, plans)


def planned_parts(settings: Settings, listener: int, workers: int) -> list[Plan]:
    """What `up` runs. Raises CommandFailed when the embedded broker is needed and cannot run."""
    plans = []
    if settings.broker_url is None:
        plans.append(
            Plan(
                "valkey",
                valkey_command(settings),
                STOP_BROKER,
                BROKER_GRACE_SECONDS,
                hidden=("WARNING Memory overcommit", "signal-handler", "bye bye"),
            )
        )
    plans += [
        Plan("api", part_command("service", "--fd", str(listener)), STOP_API, API_GRACE_SECONDS, pass_fds=(listener,)),
        Plan("migrate", part_command("migrations"), STOP_API, API_GRACE_SECONDS, once=True),
    ]
    names = ["worker"] if workers == 1 else [f"worker-{number}" for number in range(1, workers + 1)]
    return plans + [
        Plan(name, part_command("worker"), STOP_WORKERS, WORKER_GRACE_SECONDS, delay_seconds=WORKER_DELAY_SECONDS)
        for name in names
    ]


def supervise(settings: Settings, listener: socket.socket, plans: Sequence[Plan]) -> int:
    """Runs the plans behind an open listener, and says once when the API is ready. Returns the exit code."""
    port = int(listener.getsockname()[1])
    terminal = Terminal(sys.stdout, [OWN_NAME, *(plan.name for plan in plans)])

    def on_ready() -> None:
        terminal.write(_banner(terminal, settings, port))
        supervisor.hasten()

    probe = ReadyProbe(reachable(settings.host), port, on_ready)
    supervisor = Supervisor(plans, _environment(settings, port), terminal, probe)
    return supervisor.run()


def _environment(settings: Settings, port: int) -> Mapping[str, str]:
    """The children's: this process's, with what the command line decided."""
    return {
        **os.environ,
        "KERASD_DATA_DIR": str(settings.data_dir),
        "KERASD_HOST": settings.host,
        "KERASD_PORT": str(port),
        **({"KERASD_THREADS": str(settings.threads)} if settings.threads else {}),
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # as -P, for what the parts start in turn
    }


def _banner(terminal: Terminal, settings: Settings, port: int) -> str:
    url = http_url(settings.host, port)
    rows = {
        "API": url,
        "docs": f"{url}/docs",
        "data": str(settings.data_dir),
        "try": hint("kerasd train --architecture lenet --dataset digits --watch", url),
        "stop": "Ctrl-C",
    }
    lines = [terminal.bold(f"kerasd {version('kerasd')} is ready"), *(f"  {key:<5} {row}" for key, row in rows.items())]
    return "\n".join(["", *lines, ""])
