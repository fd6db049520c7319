"""A study of 8 LeNet jobs against the same 8 runs by a plain Keras script, one after another, each a process of its own.

8,500 training images (of 10,000, the last 15 % held out), 2,000 test images, 25 epochs: 4 optimizers with 2 batch sizes. The
script evaluates and saves; a job also stores epochs, checkpoints and a verified model. Asked for: at most 0.7 of the time.
Usage: python bench_study.py /path/to/mnist.npz [--epochs 25]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from running import BENCHMARKS, running_kerasd

OPTIMIZERS, BATCHES = ("adam", "sgd", "rmsprop", "adagrad"), (32, 64)
TRAIN, TEST = 10_000, 2_000
IDLE_SECONDS = 15.0
"""for a standby to import TensorFlow, as after any start of `kerasd up`"""


def plain(data: Path, epochs: int, folder: Path) -> float:
    """Seconds of all runs."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    began = time.perf_counter()
    for optimizer, batch in product(OPTIMIZERS, BATCHES):
        model = folder / f"{optimizer}-{batch}.keras"
        script = [sys.executable, str(BENCHMARKS / "plain_study.py"), str(data), optimizer, str(batch), str(epochs)]
        subprocess.run([*script, str(model)], check=True, env=quiet)
    return time.perf_counter() - began


def study(data: Path, epochs: int, folder: Path) -> float:
    """Seconds from the submit to SUCCEEDED."""
    spec = {
        "name": "optimizer and batch size",
        "base": {
            "dataset": {"name": "few", "split": "last", "validation_fraction": 0.15},
            "architecture": "lenet",
            "epochs": epochs,
        },
        "space": {"optimizer": list(OPTIMIZERS), "batch_size": list(BATCHES)},
        "seeds": 1,
    }
    with running_kerasd(folder) as client:
        client.add_dataset("few", [data])
        client.wait_dataset("few")
        time.sleep(IDLE_SECONDS)
        began = time.perf_counter()
        ended = client.wait_study(client.submit_study(spec).id)
        seconds = time.perf_counter() - began
    if ended.state != "SUCCEEDED" or ended.progress.succeeded != len(OPTIMIZERS) * len(BATCHES):
        sys.exit(f"the study {ended.state}: {ended.detail}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        few = Path(name) / "few.npz"
        with np.load(options.mnist) as full:
            parts = {f"{axis}_{part}": full[f"{axis}_{part}"] for axis in "xy" for part in ("train", "test")}
        np.savez(few, **{key: value[: TRAIN if "train" in key else TEST] for key, value in parts.items()})
        kerasd = study(few, options.epochs, Path(name))
        script = plain(few, options.epochs, Path(name))
    Console().print(
        f"8 LeNet jobs, {options.epochs} epochs: kerasd {kerasd:.0f} s, the script {script:.0f} s: {kerasd / script:.2f}"
    )


if __name__ == "__main__":
    main()
