"""TensorFlow Serving's documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.errors import ArtifactCorrupt
from service.predictions.predictor import Scores
from service.protocols.signature import INPUT, LOGITS, PROBABILITIES
from service.protocols.versions import Described

SIGNATURE = "serving_default"
ON_DEMAND = "loaded when it is asked for"


def predicted(scores: Scores, *, rows: bool) -> dict[str, Any]:
    """By image or by output. Both outputs have a name, so rows are objects."""
    if not rows:
        return {"outputs": {LOGITS: scores.logits, PROBABILITIES: scores.probabilities}}
    pairs = zip(scores.logits, scores.probabilities, strict=True)
    return {"predictions": [{LOGITS: logits, PROBABILITIES: probabilities} for logits, probabilities in pairs]}


def available(version: int, message: str = "") -> dict[str, Any]:
    return _status(version, "AVAILABLE", "OK", message)


def failed(version: int, error: Exception) -> dict[str, Any]:
    """A version that cannot be loaded. Its state is the last one of TensorFlow Serving's; the code is gRPC's."""
    code = "DATA_LOSS" if isinstance(error, ArtifactCorrupt) else "UNAVAILABLE"
    return _status(version, "END", code, str(error))


def _status(version: int, state: str, code: str, message: str) -> dict[str, Any]:
    return {"version": str(version), "state": state, "status": {"error_code": code, "error_message": message}}


def metadata(model: Described) -> dict[str, Any]:
    signature = {
        "inputs": {INPUT: _tensor(INPUT, model.input_shape)},
        "outputs": {name: _tensor(name, model.output_shape) for name in (LOGITS, PROBABILITIES)},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return {
        "model_spec": {"name": model.row.name, "signature_name": "", "version": str(model.row.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor(name: str, shape: Sequence[int]) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": f"{name}:0"}
