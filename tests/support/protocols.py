"""Requests of the serving protocols, and what their refusals look like."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx2
import numpy as np
from listening import COLOURED, COLOURED_SHAPE
from numpy.typing import NDArray
from PIL import Image

LENET = "digits.lenet"
PREDICT = f"/v1/models/{COLOURED}:predict"
INFER = f"/v2/models/{COLOURED}/infer"
HEADER_LENGTH = "Inference-Header-Content-Length"


def pictures(count: int = 2) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, (count, *COLOURED_SHAPE)).astype(np.uint8)


def png(pixels: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def b64(pixels: NDArray[Any]) -> dict[str, str]:
    return {"b64": base64.b64encode(png(pixels)).decode()}


def refused(answer: httpx2.Response, status: int, words: str = "") -> None:
    """Checks an error of either protocol."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert words in body["error"], body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


def infer_document(array: NDArray[Any], **changes: Any) -> dict[str, Any]:
    tensor = {"name": "pixels", "shape": list(array.shape), "datatype": "UINT8", "data": array.ravel().tolist()}
    return {"inputs": [{**tensor, **changes}]}


def binary(http: httpx2.Client, document: Any, *tensors: bytes, length: Any = None) -> httpx2.Response:
    head = json.dumps(document).encode()
    headers = {HEADER_LENGTH: str(len(head) if length is None else length)}
    return http.post(INFER, content=b"".join((head, *tensors)), headers=headers)


def binary_document(array: NDArray[Any], datatype: str = "UINT8", **changes: Any) -> dict[str, Any]:
    parameters = {"binary_data_size": array.nbytes}
    tensor = {"name": "pixels", "shape": list(array.shape), "datatype": datatype, "parameters": parameters}
    return {"inputs": [{**tensor, **changes}]}
