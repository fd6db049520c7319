"""From a trained network to a verified ONNX artifact in the store."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf

from core.artifacts import ArtifactStore
from core.errors import TrainingFailure
from core.layers import Shape
from core.parity import parity_of
from core.repositories.attempts import Attempt
from core.repositories.donors import WEIGHTS
from core.repositories.results import StoredArtifact
from core.states import Reason
from core.validation import CheckedSpec
from worker.datasets.images import Images, spread
from worker.evaluation import Logits, predict_logits
from worker.network import build_network
from worker.onnx_export import NotCovered, to_onnx
from worker.weights import write_weights

PARITY_IMAGES = 256
LEAST_AGREEMENT = 0.95


def rebuilt(checked: CheckedSpec, weights: list[Any]) -> Any:
    """The job's network in float32, made anew from its recipe: what is published, whatever it was trained with."""
    network = build_network(checked.layers, checked.input_shape)
    network.set_weights(weights)
    return network


def export_onnx(network: Any, input_shape: Shape) -> bytes:
    """A float32 network as ONNX: layer by layer, or by way of TensorFlow's graph where it has layers of another kind."""
    try:
        return to_onnx(network)
    except NotCovered as layer:
        print(f"exported by tf2onnx, which takes its time and memory: {layer}", flush=True)
    network(np.zeros((1, *input_shape), np.float32))  # that export needs a network that was called once
    with tempfile.TemporaryDirectory(prefix="kerasd-export-") as folder:
        file = Path(folder) / "model.onnx"
        with warnings.catch_warnings():
            # Keras 3.15 still asks NumPy for np.object, to patch tf2onnx.
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"keras\.src\.export")
            network.export(str(file), format="onnx", verbose=False)
        return file.read_bytes()


def check_drift(trained: Any, network: Any, held_out: Images, batch_size: int, precision: str) -> dict[str, Any]:
    """Compares a network as it was trained, in `precision`, with its float32 rebuild on up to 256 held-out images, spread over them.

    Raises TrainingFailure ARTIFACT_REJECTED when they name the same class for fewer than 95 of 100.
    """
    images = spread(held_out, PARITY_IMAGES)
    before, after = predict_logits(trained, images, batch_size), predict_logits(network, images, batch_size)
    agreement = float(np.mean(before.argmax(axis=1) == after.argmax(axis=1)))
    difference = float(np.max(np.abs(before - after)))
    if not agreement >= LEAST_AGREEMENT:
        detail = (
            f"rebuilt in float32, the network agrees with itself in {precision} on {agreement:.1%} of images only "
            f"(at least {LEAST_AGREEMENT:.0%} are asked for); train it in float32"
        )
        raise TrainingFailure(Reason.ARTIFACT_REJECTED, detail)
    return {"precision": precision, "images": len(images.labels), "agreement": agreement, "max_difference": difference}


def check_parity(content: bytes, network: Any, held_out: Images, batch_size: int) -> dict[str, float]:
    """Compares ONNX Runtime with Keras on up to 256 held-out images, spread over them.

    Raises TrainingFailure ARTIFACT_REJECTED when logits differ by more than 1e-4 + 1e-5 max|logit|.
    """
    images = spread(held_out, PARITY_IMAGES)
    tf.config.experimental.enable_tensor_float_32_execution(False)  # else GPUs multiply with ten bits
    expected = predict_logits(network, images, batch_size)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name, pixels = session.get_inputs()[0].name, images.pixels.astype(np.float32)
    batches = [pixels[first : first + batch_size] for first in range(0, len(pixels), batch_size)]
    actual: Logits = np.concatenate([session.run(None, {name: batch})[0] for batch in batches])
    parity = parity_of(actual, expected)
    if not parity.holds:
        raise TrainingFailure(Reason.ARTIFACT_REJECTED, f"the exported network differs from Keras {parity}")
    return {"images": len(images.labels), **asdict(parity)}


def store_artifact(store: ArtifactStore, attempt: Attempt, content: bytes) -> StoredArtifact:
    """Writes under the attempt's own path; only a row makes it visible."""
    stored = store.put(f"{attempt.tenant}/{attempt.job_id}/{attempt.number}/model.onnx", content)
    return StoredArtifact("onnx", stored.path, stored.sha256, stored.bytes)


def store_weights(store: ArtifactStore, attempt: Attempt, network: Any) -> StoredArtifact:
    """The same for what other jobs may start with."""
    path = f"{attempt.tenant}/{attempt.job_id}/{attempt.number}/weights"
    with store.writing(path) as file:
        write_weights(network, file)
    return StoredArtifact(WEIGHTS, path, file.sha256, file.bytes)
