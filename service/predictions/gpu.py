"""Networks on a GPU, in batches of two sizes alone.

ONNX Runtime plans a convolution for the size of its batch, and anew whenever that changes, also back to a size that it has
had. On an H200 that took 62 ms for MyCNN and 0.4 to 2 s for MobileNet, whose runs take 2.8 and 7.5 ms for one picture and
hardly more for 64. So one session has one picture a run, and another a full batch, to which fewer are filled up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import structlog

from core.inference import ENGINE_ERRORS, Floats, Network, can_use_gpus
from core.parity import parity_of

REFUSALS: tuple[type[Exception], ...] = (*ENGINE_ERRORS, RuntimeError)
"""where there is no GPU, or its memory is full"""

log = structlog.get_logger("kerasd.predict")


class GpuNetwork:
    """One network, on the GPU twice. Safe to call from several threads."""

    def __init__(self, one: Network, full: Network, batch: int) -> None:
        """`full` runs `batch` pictures at once, `one` a single one."""
        self._one = one
        self._full = full
        self._batch = batch

    def logits(self, pixels: Floats) -> Floats:
        """(n, classes) of pixels 0-255, (n, height, width, channels), n at most the batch."""
        count = len(pixels)
        if count == 1:
            return self._one.logits(pixels)
        if count == self._batch:
            return self._full.logits(pixels)
        filled = np.zeros((self._batch, *pixels.shape[1:]), np.float32)
        filled[:count] = pixels
        return self._full.logits(filled)[:count]


def gpu_network(file: Path, batch: int, pixels: Floats, expected: Floats) -> GpuNetwork | None:
    """Of a verified file, warm; None where no GPU can be used for it.

    It must agree with the CPU: on `pixels`, (2, height, width, channels), with the logits `expected`.
    """
    if not can_use_gpus():
        return None
    try:
        one = Network(file, threads=1, gpu=True)
        if not one.on_gpu:
            return None
        network = GpuNetwork(one, Network(file, threads=1, gpu=True), batch)
        parity = parity_of(np.concatenate([network.logits(pixels[:1]), network.logits(pixels)[1:]]), expected)
    except REFUSALS as error:
        log.warning("the GPU cannot run the network, so the CPU does", file=str(file), error=str(error))
        return None
    if not parity.holds:
        log.warning("the GPU computes other logits, so the CPU runs the network", file=str(file), differ=str(parity))
        return None
    return network
