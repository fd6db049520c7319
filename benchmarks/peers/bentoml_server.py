"""The ONNX file in BentoML, as its documentation has it: ONNX_FILE=MODEL.onnx bentoml serve bentoml_server:Classifier."""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Classifier:
    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["ONNX_FILE"], providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, instances: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.session.run(None, {self.input: instances.astype(np.float32)})[0]
        return logits
