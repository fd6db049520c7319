"""A job of kerasd, from POST to SUCCEEDED, against the same training as a plain script in a process of its own.

LeNet, adam, batch 32, the same images and number of epochs. The job also stores an epoch row, a checkpoint, an evaluation
and a verified model; the script evaluates. Sides alternate. Asked for: under 3 % more for a job of 5 minutes.
Usage: python bench_overhead.py [/path/to/mnist.npz] [--minutes 5] [--pairs 2] (without a path: digits)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from running import BENCHMARKS, running_kerasd

CALIBRATION_EPOCHS = 5
IDLE_SECONDS = 15.0
"""for a standby to import TensorFlow, as after any start of `kerasd up`"""


def plain(epochs: int, data: list[str]) -> tuple[float, float]:
    """Seconds of the whole process, and of one epoch."""
    command = [sys.executable, str(BENCHMARKS / "plain_fit.py"), str(epochs), *data]
    began = time.perf_counter()
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=quiet)
    return time.perf_counter() - began, float(json.loads(answer.stdout)["epoch_seconds"])


def job(epochs: int, data: list[str], folder: Path) -> float:
    """Seconds of the job. The dataset is imported by the first one on a folder."""
    name = "mnist" if data else "digits"
    files = {"KERASD_DATASET_FILES": json.dumps({"mnist": data[0]})} if data else {}
    with running_kerasd(folder, **files) as client:
        time.sleep(IDLE_SECONDS)
        began = time.perf_counter()
        submitted = client.submit({"dataset": name, "architecture": "lenet", "epochs": epochs, "batch_size": 32})
        ended = client.wait(submitted.id)
        seconds = time.perf_counter() - began
    if ended.state != "SUCCEEDED":
        sys.exit(f"the job {ended.state}: {ended.detail}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="*", help="mnist.npz")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    epoch_seconds = plain(CALIBRATION_EPOCHS, options.data)[1]
    epochs = max(1, round(options.minutes * 60 / epoch_seconds))
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        job(1, options.data, Path(name))
        sides: dict[str, Callable[[], float]] = {
            "plain": lambda: plain(epochs, options.data)[0],
            "kerasd": lambda: job(epochs, options.data, Path(name)),
        }
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for pair in range(options.pairs):
            for side in sorted(sides, reverse=pair % 2 == 0):  # plain first, then kerasd first, and so on
                taken[side].append(sides[side]())
                console.print(f"{side}: {taken[side][-1]:.1f} s for {epochs} epochs")
    medians = {side: statistics.median(values) for side, values in taken.items()}
    console.print(
        f"{'mnist' if options.data else 'digits'}, {epochs} epochs: plain {medians['plain']:.1f} s, "
        f"kerasd {medians['kerasd']:.1f} s: {medians['kerasd'] / medians['plain'] - 1:+.1%}"
    )


if __name__ == "__main__":
    main()
