"""What every reader is opened with, and the sign of life that a watchdog waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.imports.source import ImportOptions, Limits, UploadedFile

REPORT_BYTES = 4 << 20
"""between two calls of on_progress"""


class Meter:
    """Tells `on_progress` how many bytes the checking phase has read so far, every REPORT_BYTES."""

    def __init__(self, on_progress: Callable[[int], None]) -> None:
        self._on_progress = on_progress
        self._bytes = 0
        self._reported = 0

    def advance(self, count: int) -> None:
        self._bytes += count
        if self._bytes - self._reported >= REPORT_BYTES:
            self.report()

    def report(self) -> None:
        self._reported = self._bytes
        self._on_progress(self._bytes)


@dataclass(frozen=True)
class Opening:
    """An upload being opened. Nothing is written outside `scratch`."""

    files: Sequence[UploadedFile]
    options: ImportOptions
    limits: Limits
    scratch: Path
    meter: Meter
