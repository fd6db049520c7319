"""From a trained network to a verified ONNX artifact in the store."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf

from core.artifacts import ArtifactStore
from core.errors import TrainingFailure
from core.layers import LayerSpec, Shape
from core.repositories.attempts import Attempt
from core.repositories.results import StoredArtifact
from core.states import Reason
from worker.datasets.images import Images, MemoryImages
from worker.evaluation import Logits, predict_logits
from worker.network import build_network

PARITY_IMAGES = 256
ABSOLUTE_TOLERANCE = 1e-4
RELATIVE_TOLERANCE = 1e-5


def export_onnx(layers: list[LayerSpec], input_shape: Shape, weights: list[Any]) -> tuple[bytes, Any]:
    """The network rebuilt in float32 from its recipe, as ONNX bytes and as the Keras model to check them against."""
    network = build_network(layers, input_shape)
    network.set_weights(weights)
    network(np.zeros((1, *input_shape), np.float32))  # an export needs a network that was called once
    with tempfile.TemporaryDirectory(prefix="kerasd-export-") as folder:
        file = Path(folder) / "model.onnx"
        with warnings.catch_warnings():
            # Keras 3.15 still asks NumPy for np.object, to patch tf2onnx.
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"keras\.src\.export")
            network.export(str(file), format="onnx", verbose=False)
        return file.read_bytes(), network


def check_parity(content: bytes, network: Any, held_out: Images) -> dict[str, float]:
    """Compares ONNX Runtime with Keras on up to 256 held-out images.

    Raises TrainingFailure ARTIFACT_REJECTED when logits differ by more than 1e-4 + 1e-5 max|logit|.
    """
    first = np.arange(min(PARITY_IMAGES, len(held_out.labels)))
    images = MemoryImages(held_out.labels[first], held_out.shape, held_out.gather(first))
    tf.config.experimental.enable_tensor_float_32_execution(False)  # else GPUs multiply with ten bits
    expected = predict_logits(network, images)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    actual: Logits = session.run(None, {session.get_inputs()[0].name: images.pixels.astype(np.float32)})[0]
    difference = float(np.max(np.abs(actual - expected)))
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * float(np.max(np.abs(expected)))
    if not difference <= tolerance:  # also true for NaN
        detail = f"the exported network differs from Keras by {difference:.2e} in its logits (at most {tolerance:.2e} is right)"
        raise TrainingFailure(Reason.ARTIFACT_REJECTED, detail)
    return {"images": len(images.labels), "max_difference": difference, "tolerance": tolerance}


def store_artifact(store: ArtifactStore, attempt: Attempt, content: bytes) -> StoredArtifact:
    """Writes under the attempt's own path; only a row makes it visible."""
    stored = store.put(f"{attempt.tenant}/{attempt.job_id}/{attempt.number}/model.onnx", content)
    return StoredArtifact("onnx", stored.path, stored.sha256, stored.bytes)
