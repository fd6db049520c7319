"""`kerasd demo`: from nothing to a trained network that classifies a picture, on this machine alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from cli.charts import plot
from cli.configuration import http_url, load_settings
from cli.digits import held_out_digit
from cli.failures import FAILED, CommandFailed
from cli.history import History
from cli.output import accuracy, is_ascii, predict_command, stdout
from cli.parts import part_command
from cli.processes import start_process
from cli.server import told_plainly
from cli.watch import follow, summary
from client import ApiError, Client, Job, Unreachable
from core.settings import Settings

SPEC = {"dataset": "digits", "architecture": "lenet", "epochs": 12, "tags": {"purpose": "demo"}}
WANTED_ACCURACY = 0.95
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
PORTS_TO_TRY = 100
LOG_NAME = "demo.log"
LOG_LINES_SHOWN = 20


def demo(*, once: bool = False, data: Path | None = None) -> int:
    """Start a server, train LeNet on handwritten digits, draw its curves and classify a digit it has never seen.

    Args:
        once: stop everything afterwards instead of staying up until Ctrl-C.
        data: folder for everything that is kept; default: KERASD_DATA_DIR or ./kerasd-data.
    """
    settings = _with_free_port(load_settings(data_dir=data))
    console = stdout()
    signal.signal(signal.SIGTERM, _interrupt)
    with running_server(settings) as server, Client(http_url(settings.host, settings.port)) as client, told_plainly():
        _wait_until_ready(client, server, settings)
        console.print(f"kerasd is up at {client.url}; its log is {settings.data_dir / LOG_NAME}", soft_wrap=True)
        job, history = follow(client, client.submit(SPEC).id, console)
        exit_code = _show(client, job, history, settings, console)
        if not once:
            console.print("\nThe server stays up for the commands above. Ctrl-C stops it.")
            _stay(server)
        return exit_code


@contextmanager
def running_server(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A `kerasd up` in the background, stopped cleanly in the end. Raises CommandFailed."""
    log = settings.data_dir / LOG_NAME
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        stream = log.open("wb")
    except OSError as error:
        raise CommandFailed(f"cannot write {log}: {error.strerror}") from None
    options = ("--data", str(settings.data_dir), "--host", settings.host, "--port", str(settings.port))
    with stream:
        server = start_process(
            part_command("cli.main", "up", *options), os.environ, stream.fileno(), parent_death=signal.SIGTERM
        )
    try:
        yield server
    finally:
        _stop(server)


def _with_free_port(settings: Settings) -> Settings:
    """The port that was asked for; else the default or the next free one."""
    if "port" in settings.model_fields_set:
        return settings
    for port in range(settings.port, settings.port + PORTS_TO_TRY):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError:
                continue
        return settings.model_copy(update={"port": port})
    raise CommandFailed(f"no free port from {settings.port} on: set KERASD_PORT")


def _wait_until_ready(client: Client, server: subprocess.Popen[bytes], settings: Settings) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            client.ready()
        except (ApiError, Unreachable):
            time.sleep(POLL_SECONDS)
        else:
            return
    log = (settings.data_dir / LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    raise CommandFailed("\n".join(["the server did not start:", *log[-LOG_LINES_SHOWN:]]), server.poll() or FAILED)


def _show(client: Client, job: Job, history: History, settings: Settings, console: Console) -> int:
    """Curves, a prediction and what to do with them. Returns the exit code."""
    curves = {metric: history.curve(metric) for metric in ("accuracy", "val_accuracy")}
    width = max(min(console.width - 12, 64), 20)
    for line in ["", *plot(curves, width=width, ascii_only=is_ascii(console)), ""]:
        console.print(line)
    for text in summary(job, client.url, predict=False):
        console.print(text, soft_wrap=True)
    if job.state != "SUCCEEDED":
        return FAILED
    _predict(client, job, settings.data_dir / "held-out-digit.png", console)
    best = history.best()
    reached = (best.val_accuracy if best else None) or 0.0
    if reached < WANTED_ACCURACY:
        console.print(f"validation accuracy {accuracy(reached)} is below {WANTED_ACCURACY}", style="red")
        return FAILED
    return 0


def _predict(client: Client, job: Job, file: Path, console: Console) -> None:
    digit = held_out_digit(job.spec)
    file.write_bytes(digit.png)
    answer = client.predict("lenet", digit.png, dataset=job.model.view if job.model else None).predictions[0]
    console.print(f"\nImage {digit.index} of digits, from the test split ({file}):", soft_wrap=True)
    console.print(f"  truth {digit.label}   prediction {answer.label} with probability {answer.probability:.3f}")
    console.print("\nAsk again:")
    console.print(f"  {predict_command(client.url, job, str(file))}", soft_wrap=True)


def _stay(server: subprocess.Popen[bytes]) -> None:
    try:
        status = server.wait()
    except KeyboardInterrupt:
        return
    raise CommandFailed(f"the server ended (exit code {status}); see its log")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """TERM lets `kerasd up` stop its children in order; it kills them itself when they take too long."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _interrupt(number: int, frame: FrameType | None) -> Any:
    sys.exit(128 + number)
