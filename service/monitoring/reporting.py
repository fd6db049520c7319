"""Tells the other processes, by way of the database, what this one has seen; and the log, when live images drift."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.database import Database
from core.image_statistics import PixelCounts
from core.repositories.traffic import Reference, read_references, write_traffic
from service.monitoring.drift import RECENT_IMAGES, Counts, Drift, Verdict, Window, count_up, judge
from service.monitoring.recorder import MOST_VERSIONS, Counted, Key, Recorder

log = structlog.get_logger("kerasd.monitoring")

REPORT_SECONDS = 5.0
REPEAT_SECONDS = 30.0
"""after which figures that have not changed are written again, so that they are not forgotten"""


@dataclass(frozen=True)
class Seen:
    """What this process has seen of one version, copied at a moment."""

    counted: Counted
    windows: tuple[tuple[PixelCounts, NDArray[np.int64]], ...]
    """the images looked at, and their predicted labels: the latest, and all that are kept"""


class Reporter:
    """Of one process and tenant. To be used from one event loop; the database is written from a thread."""

    def __init__(self, database: Database, tenant: str, recorder: Recorder) -> None:
        self._database = database
        self._tenant = tenant
        self._recorder = recorder
        self.process = f"{socket.gethostname()[:200]}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self.drifts: Mapping[Key, Drift] = {}
        """by what this process has seen, at the last report"""
        self._drifted: set[Key] = set()
        """versions that were warned of and have not recovered"""
        self._references: dict[Key, Reference] = {}
        self._written: dict[Key, tuple[float, dict[str, Any]]] = {}
        self._away = False
        self._thread = ThreadPoolExecutor(1, "traffic")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """Returns when the thread uses the database no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._thread.shutdown)

    async def report(self) -> None:
        """Writes what has changed."""
        self._recorder.rotate()
        seen = self._seen(self._recorder.versions)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._report, seen)

    async def live(self, name: str) -> list[tuple[int, dict[str, Any]]]:
        """What this process has seen of a model's versions until now, as it would be written."""
        self._recorder.rotate()
        seen = self._seen(key for key in self._recorder.versions if key[0] == name)
        told = await asyncio.get_running_loop().run_in_executor(self._thread, self._told, seen)
        return [(version, data) for (_, version), data in told.items()]

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                await self.report()
            except Exception:
                log.exception("reporting the traffic failed")

    def _seen(self, keys: Iterable[Key]) -> dict[Key, Seen]:
        found: dict[Key, Seen] = {}
        for key in keys:
            figures = self._recorder.versions[key]
            counted = self._recorder.lately(figures)
            if counted["requests"] or counted["runs"]:
                windows = (figures.window.last(RECENT_IMAGES), figures.window.last(Window.SIZE))
                found[key] = Seen(counted, windows)
        return found

    def _report(self, seen: Mapping[Key, Seen]) -> None:
        try:
            told = self._told(seen)
            changed = {key: data for key, data in told.items() if self._is_due(key, data)}
            if changed:
                with self._database.transaction() as session:
                    write_traffic(session, self._tenant, self.process, changed)
        except (DBAPIError, PoolTimeout) as error:
            if not self._away:
                log.warning("the traffic cannot be written", error=str(error))
            self._away = True
            return
        self._away = False
        now = time.monotonic()
        self._written = {key: self._written[key] for key in told.keys() & self._written.keys()}
        self._written |= {key: (now, data) for key, data in changed.items()}
        self._judge(told)

    def _told(self, seen: Mapping[Key, Seen]) -> dict[Key, dict[str, Any]]:
        """As JSON. Raises DBAPIError or TimeoutError when references cannot be read."""
        self._learn(seen)
        return {key: {**entry.counted, "windows": self._counted(key, entry)} for key, entry in seen.items()}

    def _learn(self, seen: Mapping[Key, Seen]) -> None:
        """Reads the references of versions that are new; of many, only those in use are kept."""
        unknown = seen.keys() - self._references.keys()
        if unknown:
            with self._database.snapshot() as session:
                self._references |= read_references(session, self._tenant, unknown)
        if len(self._references) > MOST_VERSIONS:
            self._references = {key: known for key, known in self._references.items() if key in seen}

    def _counted(self, key: Key, seen: Seen) -> list[Counts] | None:
        statistics = self._statistics(key)
        if statistics is None:
            return None
        classes = len(statistics["labels"]["predicted"])
        return [count_up(pixels, labels, classes) for pixels, labels in seen.windows]

    def _statistics(self, key: Key) -> Counts | None:
        reference = self._references.get(key)
        return None if reference is None else reference.statistics

    def _is_due(self, key: Key, data: dict[str, Any]) -> bool:
        at, before = self._written.get(key, (float("-inf"), None))
        return data != before or time.monotonic() - at >= REPEAT_SECONDS

    def _judge(self, told: Mapping[Key, dict[str, Any]]) -> None:
        drifts: dict[Key, Drift] = {}
        for key, data in told.items():
            statistics = self._statistics(key)
            if statistics is None:
                continue
            drift = drifts[key] = judge(data["windows"], statistics)
            if drift.verdict is Verdict.DRIFT and key not in self._drifted:
                self._drifted.add(key)
                log.warning("live images differ from the training images", **_described(key, drift))
            elif drift.verdict is Verdict.NONE and key in self._drifted:
                self._drifted.remove(key)
                log.info("live images are like the training images again", **_described(key, drift))
        self.drifts = drifts


def _described(key: Key, drift: Drift) -> dict[str, Any]:
    return {
        "model": key[0],
        "version": key[1],
        "images": drift.images,
        "inputs": drift.inputs and round(drift.inputs.score, 3),
        "labels": drift.labels and round(drift.labels.score, 3),
    }
