"""The ONNX file in LitServe, as its documentation has it: python litserve_server.py PORT MODEL.onnx."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads annotations
        return np.array(request["instances"], np.float32)

    def predict(self, pixels: Any) -> Any:
        return self.session.run(None, {self.input: pixels})[0]

    def encode_response(self, logits: Any) -> dict[str, Any]:
        return {"predictions": logits.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
