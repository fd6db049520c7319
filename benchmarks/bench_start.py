"""From `kerasd up` on an empty data folder to a ready API, and from Ctrl-C to the end of every process.

Asked for: /readyz answers within 2 s.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from running import running_kerasd

REPEATS = 5


def main() -> None:
    starts, stops = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            with running_kerasd(Path(folder)):
                starts.append(time.perf_counter() - began)
                stopping = time.perf_counter()
            stops.append(time.perf_counter() - stopping)
    for what, seconds in (("ready", starts), ("stopped", stops)):
        Console().print(
            f"{what}: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s of {len(seconds)}"
        )


if __name__ == "__main__":
    main()
