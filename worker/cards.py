"""What is measured of a network when it is published, for its model card: sizes, and how fast ONNX Runtime runs it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from core.inference import Floats
from core.layers import Shape
from core.repositories.results import StoredArtifact

BUDGET_SECONDS = 0.1
"""for each size of batch, once the first run has shown that it is affordable"""
MOST_RUNS = 100
LONGEST_BATCH_SECONDS = 0.2
"""a batch that would take longer is not measured"""
BATCH = 32

Run = Callable[[Floats], object]


def measure_latency(content: bytes, input_shape: Shape, threads: int) -> dict[str, Any]:
    """Median milliseconds of ONNX Runtime on the CPU for one image and for 32: {"batch_1_ms", "batch_32_ms", "threads"}.

    Takes about 0.3 s at most; `batch_32_ms` is None where 32 images would take longer than that allows.
    """
    run = _run_on_cpu(content, threads)
    pixels = np.random.default_rng(0).uniform(0, 255, (BATCH, *input_shape)).astype(np.float32)
    one = _median_seconds(run, pixels[:1])
    affordable = one * BATCH <= LONGEST_BATCH_SECONDS
    many = _median_seconds(run, pixels) if affordable else None
    return {
        "batch_1_ms": round(one * 1000, 4),
        "batch_32_ms": None if many is None else round(many * 1000, 4),
        "threads": threads,
    }


def model_sizes(parameters: int, artifact: StoredArtifact, weights: StoredArtifact) -> dict[str, int]:
    return {"parameters": parameters, "onnx_bytes": artifact.bytes, "weights_bytes": weights.bytes}


def _run_on_cpu(content: bytes, threads: int) -> Run:
    """The network with the settings that predictions run with, whatever device it was trained on."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels})


def _median_seconds(run: Run, pixels: Floats) -> float:
    """Of as many runs as the budget allows, the first of which warms up and counts only where it is the only one."""
    first = _seconds(run, pixels)
    runs: list[float] = []
    until = time.perf_counter() + BUDGET_SECONDS - first
    while time.perf_counter() < until and len(runs) < MOST_RUNS:
        runs.append(_seconds(run, pixels))
    return statistics.median(runs or [first])


def _seconds(run: Run, pixels: Floats) -> float:
    started = time.perf_counter()
    run(pixels)
    return time.perf_counter() - started
