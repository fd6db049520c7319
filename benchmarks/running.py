"""Servers as a user starts them, for as long as a benchmark needs them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from client.client import Client

BENCHMARKS = Path(__file__).parent
ROOT = BENCHMARKS.parent


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


def environment_of(folder: Path, port: int) -> dict[str, str]:
    """This process's, with settings for an API on the data folder in `folder`."""
    return {**os.environ, "KERASD_DATA_DIR": str(folder / "data"), "KERASD_PORT": str(port)}


@contextmanager
def running_api(folder: Path, **environment: str) -> Iterator[str]:
    """The API alone, without broker and worker; yields its URL."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen([sys.executable, "-m", "service"], env={**environment_of(folder, port), **environment})
    try:
        wait_for(f"{url}/readyz")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def running_peer(kind: str, onnx: Path | None = None) -> Iterator[str]:
    """A server of peers/: usual, empty, bare, litserve or bentoml, the last two with an ONNX file; yields the URL to POST to."""
    port = free_port()
    folder = BENCHMARKS / "peers"
    python = peers_python() if onnx else Path(sys.executable)
    environment = {**os.environ, "ONNX_FILE": str(onnx), "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(ROOT)}
    match kind:
        case "litserve":
            command = [str(python), str(folder / "litserve_server.py"), str(port), str(onnx)]
        case "bentoml":
            command = [str(python.parent / "bentoml"), "serve", "bentoml_server:Classifier", "--port", str(port)]
        case _:
            command = [str(python), str(folder / "usual_server.py"), str(port), kind]
    with tempfile.TemporaryFile() as log:  # each server logs as it does by default
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(f"http://127.0.0.1:{port}/")
            yield f"http://127.0.0.1:{port}/predict"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def peers_python() -> Path:
    """The Python that has LitServe and BentoML, from requirements/peers.lock, installed at first use."""
    folder = ROOT / "build" / "peers"
    python = folder / "bin" / "python"
    lock = ROOT / "requirements" / "peers.lock"
    uv = str(Path(sys.executable).parent / "uv")
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(lock)]
    subprocess.run(install, check=True)
    return python


def wait_for(url: str, seconds: float = 120.0) -> None:
    """Returns once the server answers anything but 503."""
    deadline = time.monotonic() + seconds
    with httpx2.Client(timeout=2) as http:
        while time.monotonic() < deadline:
            try:
                if http.get(url).status_code != 503:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.01)
    raise TimeoutError(url)
