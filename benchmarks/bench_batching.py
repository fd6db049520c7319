"""MyCNN under 64 connections, with and without micro-batching, beside the engine alone; and one client when idle.

Asked for: at least 1.5 times the requests/s of the same server without micro-batching, at least 0.85 of the images/s that
the engine makes in batches of 32 without HTTP, and no more latency than without when one client asks. A binary tensor is
what the engine takes; a PNG has to be decoded as well. For machines without a GPU: the engine alone is on the CPU. All sides
take turns, because the machine's speed drifts; what is printed are medians.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_predict import SETTINGS, binary_of, png_of, train
from load import Figures, generator, measure
from rich.console import Console
from rich.table import Table
from running import running_api, running_kerasd

from core.inference import Network

SECONDS = 2.0
ROUNDS = 12
CONNECTIONS = 64
BATCH = 32
SPEC = {
    "dataset": {"name": "digits", "color": "rgb", "image_size": 32, "train_limit": 256},
    "architecture": "mycnn",
    "epochs": 1,
}
PNG = {"Content-Type": "image/png"}
WITHOUT, WITH = "without micro-batching", "with"


def engine_alone(network: Network) -> float:
    """Images a second in batches, with all cores for each run."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3)).astype(np.float32)
    runs, until = 0, time.perf_counter() + SECONDS
    started = time.perf_counter()
    while time.perf_counter() < until:
        network.logits(images)
        runs += 1
    return runs * BATCH / (time.perf_counter() - started)


def main() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    png = png_of(pixels)
    binary, headers = binary_of(pixels)
    alone: list[float] = []
    figures: dict[tuple[str, str, int], list[Figures]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="kerasd-bench-") as temporary:
        folder = Path(temporary)
        with running_kerasd(folder, **SETTINGS) as client:
            name = train(client, SPEC)
        (onnx,) = (folder / "data" / "artifacts").rglob("model.onnx")
        network = Network(onnx, len(os.sched_getaffinity(0)))
        with running_api(folder, KERASD_MAX_BATCH="1") as one, running_api(folder) as many:
            sides: dict[tuple[str, str, int], Callable[[], Figures]] = {}
            for server, url in ((WITHOUT, one), (WITH, many)):
                for connections in (CONNECTIONS, 1):
                    sides[server, "PNG", connections] = measuring(f"{url}/api/v1/predict/mycnn", png, PNG, connections)
                    sides[server, "binary tensor", connections] = measuring(
                        f"{url}/v2/models/{name}/infer", binary, headers, connections
                    )
            for _ in range(ROUNDS):
                alone.append(engine_alone(network))
                for side in random.sample(list(sides), len(sides)):
                    figures[side].append(sides[side]())
    show(alone, figures)


def measuring(url: str, body: bytes, headers: dict[str, str], connections: int) -> Callable[[], Figures]:
    return lambda: measure(url, body, headers, SECONDS, connections=connections)


def show(alone: list[float], figures: dict[tuple[str, str, int], list[Figures]]) -> None:
    def median(server: str, form: str, connections: int, value: Callable[[Figures], float]) -> float:
        return statistics.median(map(value, figures[server, form, connections]))

    def row(server: str, form: str) -> list[str]:
        busy = [each.rps for each in figures[server, form, CONNECTIONS]]
        shares = sorted(rps / images for rps, images in zip(busy, alone, strict=True))
        return [
            f"{server}, {form}",
            f"{statistics.median(busy):,.0f}",
            f"{statistics.median(shares):.2f} ({shares[0]:.2f} to {shares[-1]:.2f})",
            f"{median(server, form, CONNECTIONS, lambda each: each.p50):.1f}",
            f"{median(server, form, CONNECTIONS, lambda each: each.p99):.1f}",
            f"{median(server, form, 1, lambda each: each.p50):.2f}",
            f"{median(server, form, 1, lambda each: each.p99):.2f}",
        ]

    table = Table(
        title=f"MyCNN, one image a request ({generator()}), medians of {ROUNDS} rounds; the engine alone: "
        f"{statistics.median(alone):,.0f} images/s"
    )
    for column in (
        "server",
        "64 connections: requests/s",
        "of the engine",
        "p50 ms",
        "p99 ms",
        "idle: p50 ms",
        "p99 ms",
    ):
        table.add_column(column, justify="left" if column == "server" else "right")
    forms = ("PNG", "binary tensor")
    for server in (WITHOUT, WITH):
        for form in forms:
            table.add_row(*row(server, form))
    console = Console(width=150)
    console.print(table)
    for form in forms:
        with_it, without = (median(server, form, CONNECTIONS, lambda each: each.rps) for server in (WITH, WITHOUT))
        console.print(f"{form}: with / without: {with_it / without:.2f}")


if __name__ == "__main__":
    main()
