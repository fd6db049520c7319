"""What an attempt runs with, so that its result can be traced and repeated."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import tensorflow as tf

_PACKAGES = ("kerasd", "keras", "tensorflow", "tensorflow-cpu", "numpy", "onnxruntime", "tf2onnx")


def prepare_devices() -> list[str]:
    """Lets GPUs allocate as they need, and names the devices that training will use."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    return [gpu.name for gpu in gpus] or ["CPU"]


def prepare_threads(earlier: int | None, *, deterministic: bool) -> int:
    """Decides how many threads compute, before TensorFlow starts any. Returns their number.

    A deterministic job uses as many as its `earlier` attempts did: with another number, sums are rounded otherwise.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = earlier if deterministic and earlier is not None else available
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    if deterministic or threads != available:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    return threads


def describe_environment(devices: list[str], threads: int, dataset_digest: str) -> dict[str, Any]:
    """Versions, hardware, threads, code revision and data."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "devices": devices,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
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
