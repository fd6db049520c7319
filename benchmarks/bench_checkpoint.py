"""What a checkpoint after every epoch costs LeNet and VGG: training 8,500 images of CIFAR's size, with and without.

Asked for: under 3 % of LeNet's epoch; VGG's is to be stated. Its epoch is reckoned from one of 64 images. Usage: python bench_checkpoint.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from core.artifacts import ArtifactStore
from core.datasets import DatasetInfo
from core.layers import Conv2D, Dense, Flatten, LayerSpec, Pooling2D, Rescaling, summarize
from core.repositories.attempts import Attempt
from core.validation import CheckedSpec, check_spec
from worker.callbacks.best_epoch import BestEpoch
from worker.callbacks.checkpointer import Checkpointer
from worker.datasets.images import MemoryImages
from worker.fitting import compiled_network
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


def vgg(classes: int) -> list[LayerSpec]:
    """VGG-16 for 32x32 pictures, without its batch normalisations: 134,342,484 of 134,359,380 parameters at 20 classes."""
    layers: list[LayerSpec] = [Rescaling("rescaling", scale=1 / 255)]
    for block, (filters, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
        layers += [
            Conv2D(f"conv{block}_{number}", filters=filters, kernel=3, padding="same", activation="relu")
            for number in range(1, depth + 1)
        ]
        if block < 3:
            layers.append(Pooling2D(f"pool{block}", kind="max", size=3, stride=2))
    dense = [Dense(f"dense{number}", units=4096, activation="relu") for number in (1, 2)]
    return [*layers, Flatten("flatten"), *dense, Dense("logits", units=classes)]


class Vgg(CheckedSpec):
    """A spec whose network is VGG's, which is no architecture of kerasd yet."""

    @property
    def layers(self) -> list[LayerSpec]:
        return vgg(len(self.labels))


@dataclass(frozen=True)
class Case:
    """One network to measure, with the optimizer and batch size of the notebook's run."""

    name: str
    kind: type[CheckedSpec]
    optimizer: str
    batch_size: int
    images: int
    """trained on; the epoch's time is scaled to IMAGES"""
    epochs: int
    warm_up: int


CASES = [
    Case("lenet", CheckedSpec, "adam", 32, IMAGES, epochs=12, warm_up=2),
    Case("vgg", Vgg, "adagrad", 64, 64, epochs=3, warm_up=1),
]


def measure(case: Case) -> tuple[float, float, int]:
    """Seconds of an epoch of IMAGES images, and of its checkpoint, medians; the checkpoint's bytes."""
    document = {
        "dataset": "bench",
        "architecture": "lenet",
        "optimizer": case.optimizer,
        "batch_size": case.batch_size,
        "epochs": case.epochs,
    }
    found = check_spec(document, lambda name: INFO)
    checked = case.kind(**{field.name: getattr(found, field.name) for field in fields(found)})
    checked = replace(checked, network=summarize(checked.layers, checked.input_shape))
    noise = np.random.default_rng(0)
    images = MemoryImages(
        noise.integers(0, 20, case.images).astype(np.int32),
        (32, 32, 3),
        noise.integers(0, 256, (case.images, 32, 32, 3), np.uint8),
    )
    network = compiled_network(checked, ["CPU"])
    with tempfile.TemporaryDirectory() as folder:
        best = BestEpoch(checked.spec.objective.resolved())
        checkpointer = Checkpointer(ArtifactStore(str(Path(folder))), Attempt("local", "job", 1), best, 2)
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
