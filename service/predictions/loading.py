"""From a published version to a predictor that has run: verified, warmed, measured."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import structlog

from core.errors import ArtifactCorrupt
from core.inference import ENGINE_ERRORS, Floats, Network, UnfitError, can_use_gpus
from core.objective import objective_of
from core.repositories.models import ServableVersion
from service.predictions.files import ModelFiles
from service.predictions.gpu import GPU_ERRORS, GpuNetwork, gpu_network
from service.predictions.predictor import MOST_IN_BATCH, SLOW_SECONDS, Predictor, images_in_batch
from service.predictions.threads import MOST_THREADS

log = structlog.get_logger("kerasd.predict")

WARM_RUNS = 5

GPU_FROM_SECONDS = 0.002
"""for one image on one core: what is faster there would wait longer for a GPU"""

MEMORY_FACTOR = 1.2
SESSION_BYTES = 4 << 20
"""What a network takes: its file's size times the factor, and this for the session and its buffers."""


class Warmed(NamedTuple):
    """A network for one run at a time, the same for runs side by side, and what one image took the first."""

    network: Network | GpuNetwork
    single: Network | None
    seconds: float

    @property
    def copies(self) -> int:
        """How many times its weights are in memory."""
        return 2 if self.single is not None or isinstance(self.network, GpuNetwork) else 1


class Loader:
    """Reads versions for as many threads as predictions may use. Safe to call from several threads."""

    def __init__(self, files: ModelFiles, threads: int | None = None, most_in_batch: int = MOST_IN_BATCH) -> None:
        """`threads`: as many cores may predict; by default all that this process may use."""
        self._files = files
        self._most_in_batch = most_in_batch
        self._threads = min(threads or len(os.sched_getaffinity(0)), MOST_THREADS)

    def load(self, servable: ServableVersion) -> Predictor:
        """Raises ArtifactCorrupt when its bytes are not what was published; ArtifactStoreFailed."""
        row, artifact = servable.row, servable.artifact
        shape = row.input_shape
        input_shape = (int(shape["height"]), int(shape["width"]), int(shape["channels"]))
        file = self._files.verified(artifact)
        try:
            warmed = self._warm(file, input_shape, len(row.labels))
        except ENGINE_ERRORS as error:
            raise ArtifactCorrupt(f"artifact {artifact.path} cannot be loaded: {error}") from error
        except UnfitError as error:
            raise ArtifactCorrupt(f"artifact {artifact.path} is not the published network: {error}") from error
        return Predictor(
            name=row.name,
            view=row.view,
            architecture=row.architecture,
            version=row.version,
            job=row.job_id,
            sha256=artifact.sha256,
            labels=tuple(row.labels),
            input_shape=input_shape,
            reduced_to=shape.get("reduced_to"),
            objective=objective_of(row.objective),
            metrics=row.metrics,
            network=warmed.network,
            single=warmed.single,
            seconds=warmed.seconds,
            bytes=warmed.copies * (round(MEMORY_FACTOR * artifact.bytes) + SESSION_BYTES),
        )

    def _warm(self, file: Path, input_shape: tuple[int, int, int], classes: int) -> Warmed:
        """Networks that have run. More threads and a GPU only pay where a run outlasts waking them."""
        alone = Network(file, threads=1)
        noise = np.random.default_rng(0).uniform(0, 255, (2, *input_shape)).astype(np.float32)
        logits = alone.logits(noise)
        if logits.shape != (2, classes):
            raise UnfitError(f"two images give an output of shape {logits.shape}, not {(2, classes)}")
        seconds = _time(alone, input_shape)
        if seconds > GPU_FROM_SECONDS and can_use_gpus():
            try:
                return self._warm_on_gpu(file, noise, logits)
            except GPU_ERRORS as error:
                log.warning("the GPU cannot run the network, so the CPU does", file=str(file), error=str(error))
        if seconds <= SLOW_SECONDS or self._threads == 1:
            return Warmed(alone, None, seconds)
        wide = Network(file, self._threads)
        return Warmed(wide, alone, _time(wide, input_shape))

    def _warm_on_gpu(self, file: Path, pixels: Floats, logits: Floats) -> Warmed:
        """Raises GPU_ERRORS."""
        _, *shape = pixels.shape
        batch = min(images_in_batch(input_shape := (shape[0], shape[1], shape[2])), self._most_in_batch)
        network = gpu_network(file, batch, pixels, logits, lambda: Network(file, self._threads))
        return Warmed(network, None, _time(network, input_shape, batch) / batch)


def _time(network: Network | GpuNetwork, input_shape: tuple[int, int, int], count: int = 1) -> float:
    """Seconds for so many images, the fastest of a few runs."""
    images = np.zeros((count, *input_shape), np.float32)
    fastest = float("inf")
    for _ in range(WARM_RUNS):
        started = time.perf_counter()
        network.logits(images)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest
