"""What a checkpoint after every epoch costs LeNet and VGG: training 8,500 images of CIFAR's size, with and without.

Asked for: under 3 % of LeNet's epoch; VGG's is to be stated. Its epoch is reckoned from one of 64 images. Usage: python bench_checkpoint.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from core.artifacts import ArtifactStore
from core.datasets import DatasetInfo
from core.repositories.attempts import Attempt
from core.validation import check_spec
from worker.callbacks.best_epoch import BestEpoch
from worker.callbacks.checkpointer import Checkpointer
from worker.datasets.images import MemoryImages
from worker.fitting import compile_for_phase, first_network
from worker.pipeline import EpochOrder, training_batches

IMAGES = 8_500
INFO = DatasetInfo("bench", tuple(map(str, range(20))), (32, 32), 3, (500,) * 20, (100,) * 20)


class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Seconds of each epoch, and of the checkpoint at its end."""

    def __init__(self, checkpointer: Checkpointer) -> None:
        super().__init__()
        self._checkpointer = checkpointer
        self._began = 0.0
        self.epochs: list[float] = []
        self.checkpoints: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        ended = time.perf_counter()
        self._checkpointer.on_epoch_end(epoch, logs)
        self.epochs.append(ended - self._began)
        self.checkpoints.append(time.perf_counter() - ended)


@dataclass(frozen=True)
class Case:
    """One network to measure, with the optimizer and batch size of the notebook's run."""

    name: str
    optimizer: str
    batch_size: int
    images: int
    """trained on; the epoch's time is scaled to IMAGES"""
    epochs: int
    warm_up: int


CASES = [
    Case("lenet", "adam", 32, IMAGES, epochs=12, warm_up=2),
    Case("vgg", "adagrad", 64, 64, epochs=3, warm_up=1),
]


def measure(case: Case) -> tuple[float, float, int]:
    """Seconds of an epoch of IMAGES images, and of its checkpoint, medians; the checkpoint's bytes."""
    document = {
        "dataset": "bench",
        "architecture": case.name,
        "optimizer": case.optimizer,
        "batch_size": case.batch_size,
        "epochs": case.epochs,
    }
    checked = check_spec(document, lambda name: INFO)
    noise = np.random.default_rng(0)
    images = MemoryImages(
        noise.integers(0, 20, case.images).astype(np.int32),
        (32, 32, 3),
        noise.integers(0, 256, (case.images, 32, 32, 3), np.uint8),
    )
    network = first_network(checked)
    compile_for_phase(network, checked, 0)
    with tempfile.TemporaryDirectory() as folder:
        best = BestEpoch(checked.spec.objective.resolved())
        checkpointer = Checkpointer(ArtifactStore(str(Path(folder))), Attempt("local", "job", 1), best, 2, "float32")
        checkpointer.set_model(network)
        watch = Stopwatch(checkpointer)
        network.fit(
            training_batches(images, case.batch_size, EpochOrder(0, case.images)),
            epochs=case.epochs,
            verbose=0,
            shuffle=False,
            callbacks=[watch],
        )
        size = checkpointer.newest.bytes if checkpointer.newest else 0
    epoch, checkpoint = (statistics.median(values[case.warm_up :]) for values in (watch.epochs, watch.checkpoints))
    return epoch * IMAGES / case.images, checkpoint, size


def main() -> None:
    for case in CASES:
        epoch, checkpoint, size = measure(case)
        Console().print(
            f"{case.name}, {IMAGES:,} images: an epoch {epoch:.1f} s, its checkpoint of {size / 1e6:,.1f} MB "
            f"{checkpoint:.4g} s: {checkpoint / epoch:.1%}"
        )


if __name__ == "__main__":
    main()
