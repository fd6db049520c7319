"""MyCNN under 64 connections, with and without micro-batching, beside the engine alone; and one client when idle.

Asked for: at least 1.5 times the requests/s of the same server without micro-batching, at least 0.85 of the images/s that
the engine makes in batches of 32 without HTTP, and no more latency than without when one client asks.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_predict import SETTINGS, png_of, train
from load import Figures, generator, measure
from rich.console import Console
from rich.table import Table
from running import running_kerasd

from core.inference import Network
from service.predictions.predictor import MOST_IN_BATCH

SECONDS = 10.0
CONNECTIONS = 64
BATCH = 32
SPEC = {
    "dataset": {"name": "digits", "color": "rgb", "image_size": 32, "train_limit": 256},
    "architecture": "mycnn",
    "epochs": 1,
}
PNG = {"Content-Type": "image/png"}


def engine_alone(onnx: Path) -> float:
    """Images a second in batches, with as many threads as the service uses here."""
    network = Network(onnx, len(os.sched_getaffinity(0)))
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3)).astype(np.float32)
    runs, until = 0, time.perf_counter() + SECONDS
    started = time.perf_counter()
    while time.perf_counter() < until:
        network.logits(images)
        runs += 1
    return runs * BATCH / (time.perf_counter() - started)


def main() -> None:
    png = png_of(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    loaded: dict[str, Figures] = {}
    idle: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="kerasd-bench-") as temporary:
        folder = Path(temporary)
        with running_kerasd(folder, **SETTINGS) as client:
            train(client, SPEC)
        (onnx,) = (folder / "data" / "artifacts").rglob("model.onnx")
        before = engine_alone(onnx)
        for name, batch in (("without micro-batching", 1), ("with", MOST_IN_BATCH)):
            with running_kerasd(folder, KERASD_MAX_BATCH=str(batch), **SETTINGS) as client:
                url = f"{client.url}/api/v1/predict/mycnn"
                idle[name] = measure(url, png, PNG, SECONDS, connections=1)
                loaded[name] = measure(url, png, PNG, SECONDS, connections=CONNECTIONS)
        alone = (before + engine_alone(onnx)) / 2  # the machine's speed drifts
    table = Table(title=f"MyCNN, one PNG a request ({generator()}); the engine alone: {alone:,.0f} images/s")
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
    for name, figures in loaded.items():
        table.add_row(
            name,
            f"{figures.rps:,.0f}",
            f"{figures.rps / alone:.2f}",
            f"{figures.p50:.1f}",
            f"{figures.p99:.1f}",
            f"{idle[name].p50:.2f}",
            f"{idle[name].p99:.2f}",
        )
    console = Console(width=130)
    console.print(table)
    console.print(f"with / without: {loaded['with'].rps / loaded['without micro-batching'].rps:.2f}")


if __name__ == "__main__":
    main()
