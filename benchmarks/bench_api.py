"""The API alone: from `kerasd api` to ready, its memory with LeNet loaded, and predictions right after a swap.

Asked for: ready within 1.5 s, under 200 MB, the first prediction after a swap within twice the median. Some predictions take
longer than that without any swap, because other threads and processes want the cores; so both shares are printed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
import psutil
from bench_predict import SETTINGS, SPEC, png_of, train
from rich.console import Console
from running import environment_of, free_port, running_kerasd, wait_for

from client.client import Client

REPEATS = 10
SWAPS = 100
BETWEEN_SWAPS = 200
"""predictions, at least"""


def main() -> None:
    png = png_of(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="kerasd-bench-") as temporary:
        folder = Path(temporary)
        with running_kerasd(folder, **SETTINGS) as client:
            names = [train(client, {**SPEC, "epochs": epochs}) for epochs in (1, 3)]
        seconds, megabytes = zip(*(start_once(folder, png) for _ in range(REPEATS)), strict=True)
        console.print(f"ready: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s of {REPEATS}")
        console.print(f"resident with LeNet loaded: at most {max(megabytes):.0f} MB")
        with running_kerasd(folder, **SETTINGS) as client:
            every, firsts = swap(client, names[0], png)
    usual = statistics.median(every)
    for who, taken in (
        (f"{len(every):,} predictions", every),
        (f"the first after each of {len(firsts)} swaps", firsts),
    ):
        slow = sum(milliseconds > 2 * usual for milliseconds in taken) / len(taken)
        console.print(
            f"{who}: median {statistics.median(taken):.2f} ms, 95 % within {np.quantile(taken, 0.95):.2f} ms; "
            f"{slow:.1%} over twice the median of all"
        )


def start_once(folder: Path, png: bytes) -> tuple[float, float]:
    """Seconds from the start of `kerasd api` until it is ready, and megabytes after some predictions."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).parent / "kerasd"), "api"]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment_of(folder, port))
    try:
        wait_for(f"{url}/readyz")
        seconds = time.perf_counter() - began
        with httpx2.Client() as http:
            for _ in range(100):
                post(http, url, png)
        return seconds, psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait(timeout=30)


def swap(client: Client, name: str, png: bytes) -> tuple[list[float], list[float]]:
    """Milliseconds of predictions, and of those that were the first of a newly served version."""
    every: list[float] = []
    firsts: list[float] = []
    with httpx2.Client() as http:
        version = int(post(http, client.url, png)[1])
        for _ in range(SWAPS):
            wanted = 3 - version
            promoted = http.post(f"{client.url}/api/v1/models/{name}:promote", json={"version": wanted})
            promoted.raise_for_status()
            since = 0
            while version != wanted or since < BETWEEN_SWAPS:
                milliseconds, answered = post(http, client.url, png)
                (firsts if answered != version else every).append(milliseconds)
                since, version = since + 1, answered
    return every, firsts


def post(http: httpx2.Client, url: str, png: bytes) -> tuple[float, int]:
    """Milliseconds, and the version that answered."""
    began = time.perf_counter()
    answer = http.post(f"{url}/api/v1/predict/lenet", content=png, headers={"Content-Type": "image/png"})
    milliseconds = (time.perf_counter() - began) * 1000
    return milliseconds, int(answer.raise_for_status().json()["model"]["version"])


if __name__ == "__main__":
    main()
