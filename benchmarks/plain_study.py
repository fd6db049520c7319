"""One run of a study as one writes it without kerasd: `python plain_study.py DATA.npz OPTIMIZER BATCH EPOCHS MODEL.keras`.

LeNet of Keras's own layers, the last 15 % of the training images held out, an evaluation on the test images, the model saved.
"""

from __future__ import annotations

import sys

import keras
from plain_fit import VALIDATION, lenet, mnist


def main() -> None:
    data, optimizer, batch, epochs, model = sys.argv[1:]
    x_train, y_train, x_test, y_test = mnist(data)
    network = lenet(x_train.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer, loss, metrics=["accuracy"])
    network.fit(
        x_train.astype("float32"),
        y_train,
        batch_size=int(batch),
        epochs=int(epochs),
        validation_split=VALIDATION,
        verbose=0,
    )
    network.evaluate(x_test.astype("float32"), y_test, verbose=0)
    network.save(model)


if __name__ == "__main__":
    main()
