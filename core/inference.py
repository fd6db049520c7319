"""Published networks in ONNX Runtime: what predictions are made with, in the service and on workers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as engine

Floats = NDArray[np.float32]

ENGINE_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(engine).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""Each of ONNX Runtime's errors derives from Exception by itself."""

CUDA = (
    "CUDAExecutionProvider",
    {
        "use_tf32": "0",  # else it would multiply with ten bits
        # To try all that cuDNN has for each convolution takes four times as long and found nothing faster.
        "cudnn_conv_algo_search": "HEURISTIC",
        # As much memory as is needed, not the next power of two: trainers want the rest.
        "arena_extend_strategy": "kSameAsRequested",
    },
)


class Network:
    """An ONNX graph in ONNX Runtime. Raises the engine's own errors."""

    def __init__(self, file: Path, threads: int, *, gpu: bool = False) -> None:
        """Of an ONNX file that is verified already; with `gpu` on the GPU, if the machine has one that can be used."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads sleep: spinning would take the cores that decode, train and answer.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Small pieces of work: a thread whose core is taken away for a while keeps the others from waiting.
        options.add_session_config_entry("session.dynamic_block_base", "4")
        providers = [CUDA, "CPUExecutionProvider"] if gpu else ["CPUExecutionProvider"]
        # A GPU that cannot be used is an error, not lines on the terminal and a session on the CPU.
        self._session = onnxruntime.InferenceSession(str(file), options, providers=providers, enable_fallback=0)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            raise UnfitError("it must have one float32 input and one output")
        self._input = inputs[0].name
        self._outputs = [outputs[0].name]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU runs it."""
        return bool(self._session.get_providers()[0] == CUDA[0])

    def logits(self, pixels: Floats) -> Floats:
        """(n, classes) of pixels 0-255, (n, height, width, channels)."""
        result: Floats = self._session.run(self._outputs, {self._input: pixels})[0]
        return result


@cache
def can_use_gpus() -> bool:
    """Whether the installed ONNX Runtime is the build for GPUs. Loads NVIDIA's libraries then."""
    if CUDA[0] not in onnxruntime.get_available_providers():
        return False
    onnxruntime.preload_dlls()  # from NVIDIA's packages, which lie where no linker looks
    return True


class UnfitError(Exception):
    """The graph does not take the recorded input or give one logit for each label."""


def softmax(logits: Floats) -> Floats:
    """Along the last axis; exact for logits of any size, because the largest is taken out first."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result
