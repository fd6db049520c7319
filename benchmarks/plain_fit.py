"""What one writes without kerasd: `python plain_fit.py EPOCHS [/path/to/mnist.npz]`. Prints seconds of an epoch after the first as JSON.

LeNet of Keras's own layers and defaults, the images in memory, a validation split, an evaluation on the test split.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import keras
import numpy as np

VALIDATION, TEST = 0.15, 0.15


def mnist(path: str) -> tuple[Any, Any, Any, Any]:
    with np.load(path) as file:
        return file["x_train"][..., None], file["y_train"], file["x_test"][..., None], file["y_test"]


def digits() -> tuple[Any, Any, Any, Any]:
    """At LeNet's 32x32."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = [np.asarray(Image.fromarray((each * 255 / 16).astype("uint8")).resize((32, 32))) for each in found.images]
    images, labels = np.stack(pixels)[..., None], found.target
    train = int(len(labels) * (1 - TEST))
    return images[:train], labels[:train], images[train:], labels[train:]


def lenet(shape: tuple[int, int, int]) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 5, padding="same", activation="relu"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )


def main() -> None:
    x_train, y_train, x_test, y_test = mnist(sys.argv[2]) if len(sys.argv) > 2 else digits()
    network = lenet(x_train.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"])
    ended: list[float] = []
    network.fit(
        x_train.astype("float32"),
        y_train,
        batch_size=32,
        epochs=int(sys.argv[1]),
        validation_split=VALIDATION,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ended.append(time.perf_counter()))],
    )
    network.evaluate(x_test.astype("float32"), y_test, verbose=0)
    json.dump({"epoch_seconds": (ended[-1] - ended[0]) / max(len(ended) - 1, 1)}, sys.stdout)


if __name__ == "__main__":
    main()
