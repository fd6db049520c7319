"""Servers as a user starts them, for as long as a benchmark needs them."""

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

import httpx2

from client.client import Client

BENCHMARKS = Path(__file__).parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running_kerasd(folder: Path, **environment: str) -> Iterator[Client]:
    """`kerasd up` on a data folder; yields a client of it once it is ready."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "kerasd"), "up", "--data", str(folder / "data"), "--port", str(port)]
    with (folder / "kerasd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/readyz")
        yield Client(url)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


@contextmanager
def running_api(folder: Path, **environment: str) -> Iterator[str]:
    """The API alone, without broker and worker; yields its URL."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    settings = {"KERASD_DATA_DIR": str(folder / "data"), "KERASD_PORT": str(port), **environment}
    process = subprocess.Popen([sys.executable, "-m", "service"], env={**os.environ, **settings})
    try:
        wait_for(f"{url}/readyz")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def running_peer(kind: str) -> Iterator[str]:
    """usual_server.py; yields the URL to POST to."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(BENCHMARKS / "usual_server.py"), str(port), kind])
    try:
        wait_for(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}/predict"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(url: str, seconds: float = 120.0) -> None:
    """Returns once the server answers anything but 503."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx2.get(url, timeout=2).status_code != 503:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError(url)
