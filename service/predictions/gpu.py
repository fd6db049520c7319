"""Networks on a GPU, in batches of two sizes alone.

ONNX Runtime plans a convolution for the size of its batch, and anew whenever that changes, also back to a size that it has
had. On an H200 that took 62 ms for MyCNN and 0.4 to 2 s for MobileNet, whose runs take 2.8 and 7.5 ms for one picture and
hardly more for 64. So one session has one picture a run, and another a full batch, to which fewer are filled up.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np
import structlog

from core.inference import ENGINE_ERRORS, Floats, Network
from core.parity import parity_of

log = structlog.get_logger("kerasd.predict")


class GpuRefused(Exception):
    """The network is not to be run on a GPU. Says why."""


GPU_ERRORS: tuple[type[Exception], ...] = (*ENGINE_ERRORS, RuntimeError, GpuRefused)
"""where there is no GPU, its memory is full, or it fails"""


class GpuNetwork:
    """One network, on the GPU twice. Safe to call from several threads."""

    def __init__(self, one: Network, full: Network, batch: int, on_cpu: Callable[[], Network]) -> None:
        """`full` runs `batch` pictures at once, `one` a single one; `on_cpu` loads what replaces them when the GPU fails."""
        self._one = one
        self._full = full
        self._batch = batch
        self._on_cpu = on_cpu
        self._replacing = Lock()
        self._replacement: Network | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it is still run there."""
        return self._replacement is None

    def logits(self, pixels: Floats) -> Floats:
        """(n, classes) of pixels 0-255, (n, height, width, channels)."""
        replacement = self._replacement
        if replacement is None:
            try:
                return self.on_device(pixels)
            except GPU_ERRORS as error:
                replacement = self._replaced(error)
        return replacement.logits(pixels)

    def on_device(self, pixels: Floats) -> Floats:
        """The same, on the GPU or not at all. Raises its errors."""
        firsts = range(0, len(pixels), self._batch)
        parts = [self._filled_up(pixels[first : first + self._batch]) for first in firsts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _filled_up(self, pixels: Floats) -> Floats:
        count = len(pixels)
        if count == 1:
            return self._one.logits(pixels)
        if count == self._batch:
            return self._full.logits(pixels)
        filled = np.zeros((self._batch, *pixels.shape[1:]), np.float32)
        filled[:count] = pixels
        return self._full.logits(filled)[:count]

    def _replaced(self, error: Exception) -> Network:
        with self._replacing:
            if self._replacement is None:
                log.error("the GPU failed; the CPU runs the network from now on", error=str(error))
                self._replacement = self._on_cpu()
            return self._replacement


def gpu_network(file: Path, batch: int, pixels: Floats, expected: Floats, on_cpu: Callable[[], Network]) -> GpuNetwork:
    """Of a verified file, warm. It must agree with the CPU: on `pixels`, (2, height, width, channels), with the logits `expected`.

    Raises GpuRefused and the other GPU_ERRORS.
    """
    one = Network(file, threads=1, gpu=True)
    if not one.on_gpu:
        raise GpuRefused("ONNX Runtime found no CUDA device that it can use")
    network = GpuNetwork(one, Network(file, threads=1, gpu=True) if batch > 1 else one, batch, on_cpu)
    singly = np.concatenate([network.on_device(picture[None]) for picture in pixels])
    for logits in (singly, network.on_device(pixels)):
        parity = parity_of(logits, expected)
        if not parity.holds:
            raise GpuRefused(f"its network differs from the CPU's {parity}")
    return network
