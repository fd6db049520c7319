"""What a training will cost, estimated from its layer specs: the trainer's memory, and the time of an epoch.

The constants come from measurements on two cores (benchmarks/bench_estimates.py prints how well they hold); on other
processors, times are scaled by how fast this one multiplies matrices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from core.layers import NetworkSummary
from core.optimizers import OptimizerOptions
from core.validation import CheckedSpec

FLOAT_BYTES = 4

RUNTIME_BYTES = 830_000_000
"""of a trainer beside its network and images: Python, TensorFlow, export, threads"""
WEIGHT_COPIES = 10.3
"""arrays as large as the weights, besides the optimizer's: gradients, the best epoch's, a checkpoint's, the rebuild's, the export's …"""
ACTIVATION_COPIES = 0.6
"""numbers kept for each activation of a batch: some layers work in place"""
EVALUATION_COPIES = 0.6
"""the same where nothing is trained, of VGG16: what its largest layers need; of networks with many small ones less"""

MULTIPLY_ADDS_A_SECOND = 1.0e11
SECONDS_AN_ACTIVATION = 4.2e-9
SECONDS_A_STEP = 1e-3
SECONDS_TO_BEGIN = 0.04
SECONDS_TO_CLOSE = 0.1
"""that an epoch takes whatever is trained: before its steps, which an earlier job's images a second include, and for its end"""
SECONDS_A_TRAINED_BYTE = 1.3e-10
CHECKPOINT_BYTES_A_SECOND = 5e8
BACKWARD = 2.0
"""multiply-adds of the way back, for each of the way there"""

MATRIX_SIDE = 512
MATRIX_SECONDS = 1.5e-3
"""that the measuring machine took to multiply two of them"""

_SLOTS = {"sgd": 0, "adagrad": 1, "adafactor": 0, "lion": 1, "rmsprop": 1}
"""arrays as large as the trained weights that an optimizer keeps; two for those not named"""


@dataclass(frozen=True)
class Estimate:
    """`based_on`: "calibration", or the job whose epochs were taken."""

    memory_bytes: int
    epoch_seconds: float
    based_on: str


def estimate(checked: CheckedSpec, earlier: tuple[str, float] | None, cache_pixel_bytes: int) -> Estimate:
    """`earlier`: a job that trained the same network on the same batches, and how many images a second it did, validation left out.

    `cache_pixel_bytes`: up to which trainers keep a part of the images in memory.
    """
    memory = estimated_memory(checked, cache_pixel_bytes)
    if earlier is not None:
        job, images_a_second = earlier
        seconds = checked.epoch_images / images_a_second + _closing_seconds(checked) * slowness()
        return Estimate(memory, seconds, f"job {job}")
    return Estimate(memory, estimated_seconds(checked) * slowness(), "calibration")


def estimated_memory(checked: CheckedSpec, cache_pixel_bytes: int) -> int:
    """Bytes of a trainer at its peak."""
    network, spec = checked.network, checked.spec
    weights = FLOAT_BYTES * network.parameters * WEIGHT_COPIES
    slots = FLOAT_BYTES * _most_trained(checked) * optimizer_slots(spec.optimizer)
    at_once = max(spec.batch_size * ACTIVATION_COPIES, network.evaluation_batch * EVALUATION_COPIES)
    activations = FLOAT_BYTES * network.activations * at_once
    return int(RUNTIME_BYTES + _pixel_bytes(checked, cache_pixel_bytes) + weights + slots + activations)


def estimated_seconds(checked: CheckedSpec) -> float:
    """Of the first phase's epochs, on the measuring machine, validation included."""
    network = checked.network_in(0)
    an_image = _forward_seconds(network) + _backward_seconds(network)
    touched = FLOAT_BYTES * network.trainable_parameters * (3 + 2 * optimizer_slots(checked.spec.optimizer))
    a_step = SECONDS_A_STEP + touched * SECONDS_A_TRAINED_BYTE
    return SECONDS_TO_BEGIN + checked.epoch_images * an_image + checked.steps * a_step + _closing_seconds(checked)


def optimizer_slots(options: OptimizerOptions) -> int:
    """Arrays as large as the trained weights that it keeps."""
    given: dict[str, Any] = options.model_dump()
    slots = _SLOTS.get(given["name"], 2)
    more = (
        given["name"] == "sgd" and given["momentum"] > 0,
        given.get("amsgrad"),
        given.get("centered"),
        given["use_ema"],
    )
    return slots + sum(map(bool, more)) + int(given["name"] == "rmsprop" and given["momentum"] > 0)


def _forward_seconds(network: NetworkSummary) -> float:
    return network.multiply_adds / MULTIPLY_ADDS_A_SECOND + network.activations * SECONDS_AN_ACTIVATION / 3


def _backward_seconds(network: NetworkSummary) -> float:
    """Of the layers from the first trained one on: what lies before needs no gradient."""
    rows = list(network.rows)
    first = next((number for number, row in enumerate(rows) if row.trainable_parameters), len(rows))
    cost = sum(row.multiply_adds for row in rows[first:]) * BACKWARD / MULTIPLY_ADDS_A_SECOND
    return cost + sum(row.activations for row in rows[first:]) * SECONDS_AN_ACTIVATION * 2 / 3


def _closing_seconds(checked: CheckedSpec) -> float:
    """That an epoch takes beside its training steps: its checkpoint, its validation, and what each costs."""
    network = checked.network_in(0)
    kept = FLOAT_BYTES * (network.parameters + network.trainable_parameters * optimizer_slots(checked.spec.optimizer))
    validation = checked.counts.validation * _forward_seconds(network)
    return SECONDS_TO_CLOSE + kept / CHECKPOINT_BYTES_A_SECOND + validation


def _most_trained(checked: CheckedSpec) -> int:
    return max(checked.network_in(phase).trainable_parameters for phase in range(len(checked.spec.planned_phases)))


def _pixel_bytes(checked: CheckedSpec, most: int) -> int:
    """Of images that are kept in memory: the parts that have no more than that."""
    height, width, channels = checked.input_shape
    counts = checked.counts
    parts = (images * height * width * channels for images in (counts.train, counts.validation, counts.test))
    return sum(size for size in parts if size <= most)


@cache
def slowness() -> float:
    """How many times longer this processor takes than the one that was measured; some milliseconds, once."""
    matrix = np.ones((MATRIX_SIDE, MATRIX_SIDE), np.float32)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        np.matmul(matrix, matrix)
        taken.append(time.perf_counter() - began)
    return min(taken) / MATRIX_SECONDS
