"""The threads on which networks run that are too slow for the event loop."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue

RUNS_AT_ONCE = 4
"""of different networks with threads of their own"""

MOST_THREADS = 4
"""of one run: more would mostly wait for one another"""


class RunThreads:
    """For runs that bring threads of their own, and for runs side by side, each on one core."""

    def __init__(self, cores: int | None = None) -> None:
        """`cores`: how many runs go side by side; by default one for each core that this process may use."""
        allowed = sorted(os.sched_getaffinity(0))
        self.cores = cores or len(allowed)
        self.wide = ThreadPoolExecutor(RUNS_AT_ONCE, "predict-run")
        # Each thread keeps to a core. Moved about by the scheduler, to make way for the event loop and each other, they
        # left cores idle, and made a twentieth fewer runs. Where they have a part of the cores they may go where they
        # like: several API processes that divide a machine must not all keep to the same part.
        free: SimpleQueue[int] = SimpleQueue()
        for core in allowed if self.cores == len(allowed) else ():
            free.put(core)
        self.beside = ThreadPoolExecutor(self.cores, "predict-core", _take_a_core, (free,))

    def close(self) -> None:
        """Waits for runs under way."""
        self.wide.shutdown()
        self.beside.shutdown()


def _take_a_core(free: SimpleQueue[int]) -> None:
    # A thread for batch work gets its share of the cores, but does not push others aside when it wakes: the event loop, which has
    # the next batches, answers sooner.
    with suppress(OSError):  # forbidden here
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if not free.empty():
        with suppress(OSError):  # taken from this process meanwhile: the thread runs where it may
            os.sched_setaffinity(0, {free.get_nowait()})
