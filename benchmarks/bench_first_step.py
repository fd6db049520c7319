"""From submitting a job to the end of its first training steps, with a warm standby and without one.

Asked for: at most 3 s with the standby warm.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from running import running_kerasd

from client.client import Client

SPEC = {"dataset": "digits", "architecture": "lenet", "epochs": 1}
REPEATS = 5
IDLE_SECONDS = 15.0


def seconds_to_first_step(client: Client) -> float:
    """Ends with the first step seen in the job's progress, or its first epoch if that comes earlier."""
    started = time.perf_counter()
    job = client.submit(SPEC)
    while client.job(job.id).progress.step == 0:
        time.sleep(0.01)
    elapsed = time.perf_counter() - started
    client.wait(job.id)
    return elapsed


def main() -> None:
    console = Console()
    for standby in ("true", "false"):
        with tempfile.TemporaryDirectory() as folder, running_kerasd(Path(folder), KERASD_STANDBY=standby) as client:
            taken = []
            for _ in range(REPEATS):
                time.sleep(IDLE_SECONDS if standby == "true" else 0.5)  # the standby imports TensorFlow meanwhile
                taken.append(seconds_to_first_step(client))
        name = "warm standby" if standby == "true" else "cold start"
        console.print(f"{name}: median {statistics.median(taken):.2f} s, slowest {max(taken):.2f} s of {REPEATS}")


if __name__ == "__main__":
    main()
