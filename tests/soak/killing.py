"""Kills every kind of process by SIGKILL at random moments, and starts it again as a process manager would."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx2
import psutil
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from stack import Stack

from core.states import HELD
from core.tables import AttemptRow, JobRow

if TYPE_CHECKING:
    from servers import Postgres

WORKERS = ("worker", "worker-2")
WEIGHTS = {"trainer": 4, "standby": 2, "importer": 4, "worker": 3, "api": 3, "broker": 2, "database": 2}
RESTART_SECONDS = (0.2, 2.0)
"""a process manager's delay, between these"""


@dataclass
class Wound:
    """Something killed that has not recovered yet."""

    kind: str
    moment: float
    healed: Callable[[], bool]


@dataclass
class Killer:
    stack: Stack
    chance: random.Random
    postgres: Postgres | None = None
    kills: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    """seconds to recover, by kind"""
    _restarts: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    _wounds: list[Wound] = field(default_factory=list)
    _importer_wanted: bool = False
    _down: set[str] = field(default_factory=set)

    def kill_one(self) -> bool:
        """Kills something of a random kind that is there. False when nothing is."""
        weights = dict(WEIGHTS)
        while weights:
            kind = self.chance.choices(list(weights), list(weights.values()))[0]
            del weights[kind]
            try:
                done = getattr(self, f"_kill_{kind}")()
            except (psutil.NoSuchProcess, DBAPIError):
                done = False
            if done:
                self.kills[kind] += 1
                return True
        return False

    def tend(self) -> None:
        """Starts what is due again, and notes what has recovered."""
        now = time.monotonic()
        due = [restart for moment, restart in self._restarts if moment <= now]
        self._restarts = [entry for entry in self._restarts if entry[0] > now]
        for restart in due:
            restart()
        self._kill_wanted_importer()
        for wound in list(self._wounds):
            with contextlib.suppress(httpx2.TransportError, DBAPIError):
                if wound.healed():
                    self._wounds.remove(wound)
                    seconds = time.monotonic() - wound.moment
                    self.slowest[wound.kind] = max(self.slowest.get(wound.kind, 0.0), seconds)

    @property
    def healed(self) -> bool:
        return not self._restarts and not self._wounds

    def open_wounds(self) -> list[str]:
        return [f"{wound.kind}, killed {time.monotonic() - wound.moment:.0f} s ago" for wound in self._wounds]

    def _kill_trainer(self) -> bool:
        worker = self._some_worker(busy=True)
        children = self._children(worker, "worker.trainer") if worker else []
        job = self._job_of(worker) if worker else None
        if not children or job is None:
            return False
        children[0].kill()
        self._wounded("trainer", self._job_goes_on(*job))
        return True

    def _kill_standby(self) -> bool:
        for name in self.chance.sample(WORKERS, len(WORKERS)):
            children = self._children(name, "worker.trainer")[1 if self._job_of(name) else 0 :]
            if children:
                children[-1].kill()
                return True
        return False

    def _kill_importer(self) -> bool:
        """An import is short: where none runs now, the next one is killed."""
        importers = [child for name in WORKERS for child in self._children(name, "worker.importer")]
        self._importer_wanted = not importers
        if importers:
            importers[0].kill()
        return bool(importers)

    def _kill_wanted_importer(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._importer_wanted and self._kill_importer():
                self.kills["importer"] += 1

    def _kill_worker(self) -> bool:
        name = self._some_worker(busy=None)
        if name is None:
            return False
        job = self._job_of(name)
        self._kill_part("worker", name)
        if job is not None:
            self._wounded("worker", self._job_goes_on(*job))
        return True

    def _kill_api(self) -> bool:
        if "api" in self._down:
            return False
        self._kill_part("api", "api")
        self._wounded("api", lambda: httpx2.get(f"{self.stack.url}/readyz", timeout=2).status_code == 200)
        return True

    def _kill_broker(self) -> bool:
        if "valkey" in self._down:
            return False
        self._kill_part("valkey", "valkey")
        self._wounded(
            "broker", lambda: httpx2.get(f"{self.stack.url}/readyz", timeout=5).json().get("status") == "ready"
        )
        return True

    def _kill_database(self) -> bool:
        if self.postgres is None or "database" in self._down:
            return False
        self.postgres.crash()
        self._restart_later("database", self.postgres.start)
        self._wounded("database", lambda: httpx2.get(f"{self.stack.url}/readyz", timeout=5).status_code == 200)
        return True

    def _kill_part(self, part: str, name: str) -> None:
        self.stack.kill(name, signal.SIGKILL)
        self._restart_later(name, lambda: self.stack.start(part, name=name))

    def _restart_later(self, name: str, start: Callable[[], object]) -> None:
        self._down.add(name)

        def restart() -> None:
            start()
            self._down.discard(name)

        self._restarts.append((time.monotonic() + self.chance.uniform(*RESTART_SECONDS), restart))

    def _wounded(self, kind: str, healed: Callable[[], bool]) -> None:
        self._wounds.append(Wound(kind, time.monotonic(), healed))

    def _some_worker(self, *, busy: bool | None) -> str | None:
        """The name of one that runs; `busy` None means either."""
        for name in self.chance.sample(WORKERS, len(WORKERS)):
            if name not in self._down and busy in (None, self._job_of(name) is not None):
                return name
        return None

    def _children(self, name: str, module: str) -> list[psutil.Process]:
        """Oldest first: a trainer was started before the standby that will follow it."""
        if name in self._down:
            return []
        children = psutil.Process(self.stack.pid(name)).children()
        return sorted((child for child in children if module in child.cmdline()), key=psutil.Process.create_time)

    def _job_of(self, name: str) -> tuple[str, int] | None:
        """The job that a worker runs, and its attempt."""
        if name in self._down:
            return None
        with self.stack.database.snapshot() as session:
            row = session.execute(
                select(JobRow.id, JobRow.attempt)
                .join(AttemptRow, (AttemptRow.job_id == JobRow.id) & (AttemptRow.number == JobRow.attempt))
                .where(JobRow.state.in_(HELD), AttemptRow.pid == self.stack.pid(name))
            ).first()
        return (row[0], row[1]) if row else None

    def _job_goes_on(self, job_id: str, attempt: int) -> Callable[[], bool]:
        """It is not held by the dead any more: queued, taken by another, or ended."""

        def taken() -> bool:
            with self.stack.database.snapshot() as session:
                row = session.get(JobRow, job_id)
                return row is None or row.attempt > attempt or row.state not in HELD

        return taken
