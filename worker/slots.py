"""What a worker's trainers share: the threads of its processors, or its GPUs."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from core.database import Database
from core.queues import MOST_DEVICES, Queue
from core.repositories.claims import Capacity, Claim, Holder, claim_next, count_waiting
from core.settings import Settings
from worker.gpus import visible_gpus

MOST_CPU_SLOTS = 4
SLOT_BYTES = 2 << 30
"""memory that a trainer of a small network may take"""


@dataclass(frozen=True)
class Share:
    """What one attempt computes with. `gpus` are as CUDA_VISIBLE_DEVICES names them; none: it trains on the CPU."""

    threads: int
    gpus: tuple[str, ...] = ()


class Slots(ABC):
    """Hands each attempt its share. `count` attempts run side by side at most, each seen through by a thread."""

    def __init__(self, count: int, queues: frozenset[Queue | None]) -> None:
        self.count = count
        self.queues = queues
        self._lock = threading.Lock()

    def claim(self, database: Database, holder: Holder) -> tuple[Claim, Share] | None:
        """The next job that fits into what is free. Raises DBAPIError."""
        with self._lock:
            capacity = self._capacity()
            with database.transaction() as session:
                claim = claim_next(session, holder, capacity)
                waiting = count_waiting(session, capacity, self.count) if claim and self.count > 1 else 0
            return (claim, self._take(claim.spec["devices"], waiting)) if claim else None

    def give_back(self, share: Share) -> None:
        with self._lock:
            self._return(share)

    @abstractmethod
    def _capacity(self) -> Capacity: ...

    @abstractmethod
    def _take(self, devices: int, waiting: int) -> Share:
        """A share for a job on so many devices, while so many others wait."""

    @abstractmethod
    def _return(self, share: Share) -> None: ...


class CpuSlots(Slots):
    """Divides threads: a lone job gets all that are free, several share them.

    On two cores, two small networks with a thread each train 1.5 to 1.9 times as many images together as one with both.
    """

    def __init__(self, count: int, threads: int, queues: frozenset[Queue | None]) -> None:
        super().__init__(count, queues)
        self._threads = threads
        self._taken: list[Share] = []

    def _capacity(self) -> Capacity:
        return Capacity(self.queues, MOST_DEVICES, MOST_DEVICES)  # a CPU can stand for any number of devices

    def _take(self, devices: int, waiting: int) -> Share:
        free = self._threads - sum(share.threads for share in self._taken)
        sharing = min(self.count - len(self._taken), 1 + waiting)
        share = Share(max(1, free // sharing))
        self._taken.append(share)
        return share

    def _return(self, share: Share) -> None:
        self._taken.remove(share)


class GpuSlots(Slots):
    """One trainer a GPU, or one trainer on as many as its job asks for."""

    def __init__(self, gpus: Sequence[str], threads: int, queues: frozenset[Queue | None]) -> None:
        super().__init__(len(gpus), queues)
        self._free = list(gpus)
        self._threads = max(1, threads // len(gpus))

    def _capacity(self) -> Capacity:
        return Capacity(self.queues, self.count, len(self._free))

    def _take(self, devices: int, waiting: int) -> Share:
        taken = tuple(self._free[:devices])
        del self._free[:devices]
        return Share(self._threads * devices, taken)

    def _return(self, share: Share) -> None:
        self._free += share.gpus


def slots_of(settings: Settings) -> list[Slots]:
    """What this machine has for the queues that the settings name. Raises NoGpu.

    Jobs that any worker may take go to the GPUs of a worker that has some.
    """
    gpus = visible_gpus() if settings.queues is None or "gpu" in settings.queues else []
    queues = settings.queues or (("cpu", "gpu") if gpus else ("cpu",))
    if "gpu" in queues and not gpus:
        raise NoGpu("KERASD_QUEUES names gpu, but no GPU that TensorFlow can use is visible here")
    threads = settings.threads or _cores()
    found: list[Slots] = [GpuSlots(gpus, threads, frozenset({"gpu", None}))] if gpus else []
    if "cpu" in queues:
        most = psutil.virtual_memory().total // SLOT_BYTES
        count = settings.slots or max(1, min(threads, MOST_CPU_SLOTS, most))
        found.append(CpuSlots(count, threads, frozenset({"cpu"} if gpus else {"cpu", None})))
    return found


def _cores() -> int:
    """That this process may use, where the system tells (Linux), else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class NoGpu(Exception):
    """A worker is to serve the gpu queue without a GPU."""
