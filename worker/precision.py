"""What a network is computed with: float32, or half of it where that is asked for or faster.

Weights are float32 whatever is chosen, and so is what is published.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from core.validation import CheckedSpec
from worker.losses import make_loss
from worker.network import build_network
from worker.optimizers import optimizer_of

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

WORTH_A_TRIAL = 2e13
"""multiply-adds of a whole training: minutes on two cores; below it, a trial would cost more than it can save"""
TRIAL_STEPS = 3
FASTER = 1.1
"""how many times faster bfloat16 must be"""


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Networks built within compute in `precision`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def choose_precision(checked: CheckedSpec, earlier: str | None) -> dict[str, Any]:
    """{"chosen": precision, "because": why}, with the seconds of a step in each when both were tried.

    `earlier` is what the training has been computed with so far.
    """
    asked = checked.spec.precision
    if earlier is not None:
        return {"chosen": earlier, "because": "the training began with it"}
    if asked != "auto":
        return {"chosen": asked, "because": "the spec asks for it"}
    reason = _reason_against_trial(checked)
    if reason is not None:
        return {"chosen": "float32", "because": reason}
    seconds = {precision: _seconds_of_a_step(checked, precision) for precision in ("float32", "bfloat16")}
    faster = seconds["float32"] > FASTER * seconds["bfloat16"]
    return {
        "chosen": "bfloat16" if faster else "float32",
        "because": "a trial was faster with it" if faster else "a trial was not faster with bfloat16",
        "seconds_of_a_step": seconds,
    }


def _reason_against_trial(checked: CheckedSpec) -> str | None:
    spec = checked.spec
    if spec.deterministic:
        return "a deterministic job must not depend on a trial"
    if spec.devices > 1:
        return "the job trains on several devices"
    if 3 * checked.network.multiply_adds * checked.epoch_images * spec.epochs < WORTH_A_TRIAL:
        return "the training is too short for a trial"
    if not _computes_bfloat16():
        return "the processor does not compute in bfloat16"
    return None


def _computes_bfloat16() -> bool:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        major, _ = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return bool(major >= 8)  # Ampere is NVIDIA's first with bfloat16
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _seconds_of_a_step(checked: CheckedSpec, precision: str) -> float:
    """The fastest of a few steps on noise, after one that builds the graph."""
    spec = checked.spec
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (spec.batch_size, *checked.input_shape)).astype(np.float32)
    labels = generator.integers(0, len(checked.labels), spec.batch_size)
    with computing_in(precision):
        network = build_network(checked.layers_in(0), checked.input_shape)
        network.compile(
            optimizer=optimizer_of(spec, spec.planned_phases[0], checked.steps),
            loss=make_loss(spec.loss, len(checked.labels)),
        )
        network.train_on_batch(pixels, labels)
        taken = []
        for _ in range(TRIAL_STEPS):
            began = time.monotonic()
            network.train_on_batch(pixels, labels)
            taken.append(time.monotonic() - began)
    del network
    keras.utils.clear_session(free_memory=True)
    return min(taken)
