"""From a published version to a predictor that has run: verified, warmed, measured."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import ArtifactCorrupt
from core.inference import ENGINE_ERRORS, Network, UnfitError
from core.objective import objective_of
from core.repositories.models import ServableVersion
from service.predictions.files import ModelFiles
from service.predictions.gpu import GpuNetwork, gpu_network
from service.predictions.predictor import SLOW_SECONDS, Predictor, images_in_batch
from service.predictions.threads import MOST_THREADS

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

    def __init__(self, files: ModelFiles, threads: int | None = None) -> None:
        """`threads`: as many cores may predict; by default all that this process may use."""
        self._files = files
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
        if seconds > GPU_FROM_SECONDS:
            gpu = gpu_network(file, images_in_batch(input_shape), noise, logits)
            if gpu is not None:
                return Warmed(gpu, None, _time(gpu, input_shape))
        if seconds <= SLOW_SECONDS or self._threads == 1:
            return Warmed(alone, None, seconds)
        wide = Network(file, self._threads)
        return Warmed(wide, alone, _time(wide, input_shape))


def _time(network: Network | GpuNetwork, input_shape: tuple[int, int, int]) -> float:
    """Seconds for one image, the fastest of a few runs."""
    image = np.zeros((1, *input_shape), np.float32)
    fastest = float("inf")
    for _ in range(WARM_RUNS):
        started = time.perf_counter()
        network.logits(image)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest
