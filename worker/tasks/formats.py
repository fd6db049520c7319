"""The formats that TensorFlow and Keras write: each written to a file, and run again from it."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from core.donors import Donor
from worker.network import build_network
from worker.tasks.assignment import TaskFailed
from worker.weights import read_weights, restore

Floats = NDArray[np.float32]

BLOCK_BYTES = 8 << 20
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""the date of every file in an archive"""


def rebuilt(donor: Donor, content: bytes) -> Any:
    """The network that a job published, from its weights file. Raises TaskFailed where that is of other layers."""
    network = build_network(donor.layers, donor.input_shape)
    try:
        restore(read_weights(content), network)
    except (KeyError, ValueError, EOFError) as error:
        raise TaskFailed(f"the stored weights do not fit the network of job {donor.job_id}: {error}") from None
    return network


def write_keras(network: Any, file: Path) -> None:
    with warnings.catch_warnings():
        # TensorFlow's variables do not know NumPy's newest way to be asked for their values.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"keras\.src\.backend")
        network.save(file)


def run_keras(file: Path, pixels: Floats) -> Floats:
    loaded: Floats = keras.saving.load_model(file, compile=False).predict(pixels, verbose=0)
    return loaded


def write_saved_model(network: Any, file: Path) -> None:
    """The folder of a SavedModel as a zip, not compressed: weights hardly shrink."""
    folder = _saved_model(network)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(member.relative_to(folder)), FIRST_DAY)
            with member.open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)


def run_saved_model(file: Path, pixels: Floats) -> Floats:
    folder = tempfile.mkdtemp()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    loaded = tf.saved_model.load(folder)
    result: Floats = loaded.serve(tf.constant(pixels)).numpy()
    return result


def write_tflite(network: Any, file: Path) -> None:
    """In float32, for any number of images."""
    file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(_saved_model(network))).convert())


def run_tflite(file: Path, pixels: Floats) -> Floats:
    with warnings.catch_warnings():
        # TensorFlow's own interpreter is to move into a package of its own; the format stays.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"tensorflow\.lite")
        interpreter = tf.lite.Interpreter(model_path=str(file))
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(taken, pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken, pixels)
    interpreter.invoke()
    result: Floats = interpreter.get_tensor(given)
    return result


def _saved_model(network: Any) -> Path:
    folder = Path(tempfile.mkdtemp())
    network.export(str(folder), format="tf_saved_model", verbose=False)
    return folder


@dataclass(frozen=True)
class Format:
    """A file of that name, written from a network, and run: pixels in, logits out."""

    file: str
    write: Callable[[Any, Path], None]
    run: Callable[[Path, Floats], Floats]


FORMATS = {
    "keras": Format("model.keras", write_keras, run_keras),
    "saved_model": Format("model.zip", write_saved_model, run_saved_model),
    "tflite": Format("model.tflite", write_tflite, run_tflite),
}
