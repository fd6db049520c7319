"""What a checkpoint after every epoch costs LeNet: training 8,500 images of CIFAR's size, with and without.

Asked for: under 3 % of an epoch's time. Usage: python bench_checkpoint.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
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
from worker.fitting import compiled_network
from worker.pipeline import EpochOrder, training_batches

IMAGES = 8_500
EPOCHS = 12
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


def main() -> None:
    checked = check_spec({"dataset": "bench", "architecture": "lenet", "epochs": EPOCHS}, lambda name: INFO)
    noise = np.random.default_rng(0)
    images = MemoryImages(
        noise.integers(0, 20, IMAGES).astype(np.int32),
        (32, 32, 3),
        noise.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8),
    )
    network = compiled_network(checked, ["CPU:0"])
    with tempfile.TemporaryDirectory() as folder:
        best = BestEpoch(checked.spec.objective.resolved())
        checkpointer = Checkpointer(ArtifactStore(str(Path(folder))), Attempt("local", "job", 1), best, 2)
        checkpointer.set_model(network)
        watch = Stopwatch(checkpointer)
        network.fit(
            training_batches(images, 32, EpochOrder(0, IMAGES)),
            epochs=EPOCHS,
            verbose=0,
            shuffle=False,
            callbacks=[watch],
        )
        size = checkpointer.newest.bytes if checkpointer.newest else 0
    epoch, checkpoint = (statistics.median(values[2:]) for values in (watch.epochs, watch.checkpoints))
    Console().print(
        f"lenet, {IMAGES:,} images: an epoch {epoch * 1000:.0f} ms, its checkpoint of {size / 1e6:.1f} MB "
        f"{checkpoint * 1000:.1f} ms: {checkpoint / epoch:.1%}"
    )


if __name__ == "__main__":
    main()
