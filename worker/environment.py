"""What an attempt runs with, so that its result can be traced and repeated."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import tensorflow as tf

from core.errors import TrainingFailure
from core.states import Reason

_PACKAGES = ("kerasd", "keras", "tensorflow", "tensorflow-cpu", "numpy", "onnx", "onnxruntime", "tf2onnx")


@dataclass(frozen=True)
class Hardware:
    """What the supervisor gives an attempt: threads, and how many GPUs it may see."""

    threads: int
    gpus: int


def prepare_devices(gpus: int, devices: int) -> list[str]:
    """Names the devices that training will use, as tf.device takes them; to be called before TensorFlow starts any.

    GPUs allocate memory as they need it. A CPU is made to stand for several devices where a job asks for them.
    Raises TrainingFailure when TensorFlow does not see the GPUs that the attempt was given.
    """
    if not gpus:
        if devices > 1:
            virtual = [tf.config.LogicalDeviceConfiguration()] * devices
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], virtual)
        return [f"CPU:{number}" for number in range(devices)]
    seen = tf.config.list_physical_devices("GPU")
    if len(seen) < gpus:
        detail = (
            f"TensorFlow sees {len(seen)} of the {gpus} GPUs that the worker assigned; see its log, and `kerasd doctor`"
        )
        raise TrainingFailure(Reason.INTERNAL_ERROR, detail)
    for gpu in seen:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    return [f"GPU:{number}" for number in range(gpus)]


def prepare_threads(share: int, earlier: int | None, devices: int, *, deterministic: bool) -> int:
    """Sets how many threads compute, before TensorFlow starts any. Returns their number.

    A deterministic job uses as many as its `earlier` attempts did: with another number, sums are rounded otherwise.
    """
    threads = earlier if deterministic and earlier is not None else share
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # Each device waits for the others in a thread of its own.
    tf.config.threading.set_inter_op_parallelism_threads(max(threads, devices))
    return threads


def describe_environment(
    devices: list[str], threads: int, dataset_digest: str, precision: dict[str, Any]
) -> dict[str, Any]:
    """Versions, hardware, threads, precision (as worker.precision tells), code revision and data."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "devices": devices,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "precision": precision,
        "memory_bytes": psutil.virtual_memory().total,
        "platform": platform.platform(),
        "code_revision": _code_revision(),
        "dataset_digest": dataset_digest,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _code_revision() -> str | None:
    """The git commit when run from a checkout."""
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
