"""The Open Inference Protocol's documents, and answers whose tensors follow the JSON as raw bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from core.inference import Floats
from service.predictions.predictor import Predictor, Scores
from service.protocols.application import render
from service.protocols.infer_requests import Output
from service.protocols.signature import INPUT, LOGITS, OUTPUTS
from service.protocols.tensors import BYTES
from service.protocols.versions import Described
from service.raw import Answer, Header

PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"

_BINARY: Header = (b"content-type", b"application/octet-stream")


def inferred(predictor: Predictor, scores: Scores, outputs: Sequence[Output], own_id: str | None) -> Answer:
    """With the request's id, if it had one."""
    tensors: list[dict[str, Any]] = []
    after: list[bytes] = []
    for name, binary, classes in outputs:
        values = scores.logits if name == LOGITS else scores.probabilities
        tensor, raw = _classified(predictor, values, classes, binary) if classes else _numbers(values, binary)
        tensors.append({"name": name, **tensor})
        if raw is not None:
            after.append(raw)
    document: dict[str, Any] = {"model_name": predictor.name, "model_version": str(predictor.version)}
    if own_id is not None:
        document["id"] = own_id
    document["outputs"] = tensors
    if not after:
        return Answer(render(document))
    header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Answer(b"".join((header, *after)), (_BINARY, (b"inference-header-content-length", b"%d" % len(header))))


def _numbers(values: Floats, binary: bool) -> tuple[dict[str, Any], bytes | None]:
    tensor: dict[str, Any] = {"datatype": "FP32", "shape": values.shape}
    if not binary:
        return {**tensor, "data": values.ravel()}, None
    raw = values.astype("<f4", copy=False).tobytes()
    return {**tensor, "parameters": {"binary_data_size": len(raw)}}, raw


def _classified(
    predictor: Predictor, values: Floats, classes: int, binary: bool
) -> tuple[dict[str, Any], bytes | None]:
    """The likeliest classes of each image, (n, classes) of "value:index:label"."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :classes]
    texts = [
        f"{row[index]:f}:{index}:{predictor.labels[index]}"
        for row, indices in zip(values.tolist(), order.tolist(), strict=True)
        for index in indices
    ]
    tensor: dict[str, Any] = {"datatype": BYTES, "shape": order.shape}
    if not binary:
        return {**tensor, "data": texts}, None
    raw = b"".join(struct.pack("<I", len(encoded)) + encoded for encoded in map(str.encode, texts))
    return {**tensor, "parameters": {"binary_data_size": len(raw)}}, raw


def metadata(model: Described) -> dict[str, Any]:
    return {
        "name": model.row.name,
        "versions": [str(number) for number in model.versions],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": model.input_shape}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": model.output_shape} for name in OUTPUTS],
    }


def configuration(model: Described, most_in_batch: int) -> dict[str, Any]:
    """As Triton writes one: dimensions without the batch's. The labels, in the order of the outputs, are a parameter."""
    labels = orjson.dumps(model.row.labels).decode()
    return {
        "name": model.row.name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "max_batch_size": most_in_batch,
        "version_policy": {"all": {}},
        "input": [
            {"name": INPUT, "data_type": "TYPE_FP32", "format": "FORMAT_NHWC", "dims": model.input_shape[1:]},
        ],
        "output": [{"name": name, "data_type": "TYPE_FP32", "dims": model.output_shape[1:]} for name in OUTPUTS],
        "dynamic_batching": {},
        "parameters": {"labels": {"string_value": labels}},
    }
