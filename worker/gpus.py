"""Which GPUs a worker may hand out, found without importing TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

VISIBLE = "CUDA_VISIBLE_DEVICES"
QUERY = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
QUERY_SECONDS = 30.0


def visible_gpus() -> list[str]:
    """NVIDIA GPUs as CUDA_VISIBLE_DEVICES names them; fewer than the machine has where that variable says so."""
    if not _tensorflow_has_cuda():
        return []
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    there = answer.stdout.split()
    allowed = os.environ.get(VISIBLE)
    if allowed is None:
        return there
    # As CUDA reads it: what follows the first name that means no device is not visible.
    named: list[str] = []
    for name in (part.strip() for part in allowed.split(",")):
        if not (name.isdecimal() and int(name) < len(there)) and not name.startswith(("GPU-", "MIG-")):
            break
        named.append(name)
    return named if there else []


def main() -> int:
    """Says which GPUs trainers would use. Returns 0 when there is one."""
    gpus = visible_gpus()
    if gpus:
        print(f"GPUs for trainers: {', '.join(gpus)}")
        return 0
    why = (
        "nvidia-smi names none" if _tensorflow_has_cuda() else "TensorFlow is the build for processors (tensorflow-cpu)"
    )
    print(f"No CUDA device is usable here, so nothing was checked: {why}.")
    return 1


def _tensorflow_has_cuda() -> bool:
    """Its build for processors alone goes by another name."""
    try:
        version("tensorflow-cpu")
    except PackageNotFoundError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
