"""Counts what predictions are asked for and how they went. Written to by the event loop alone, a microsecond a request."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.image_statistics import pixel_counts
from service.monitoring.drift import Window
from service.monitoring.histogram import IMAGES, SECONDS, Histogram
from service.predictions.predictor import Predictor, Scores

NATIVE, TENSORFLOW_SERVING, OPEN_INFERENCE = "/api/v1", "/v1", "/v2"
"""the protocols"""

MOST_VERSIONS = 200
"""of which figures are kept; then those forgotten first that were used least lately"""

LOOKS_A_SECOND = 100.0
"""images of a version that are looked at closely while many come"""

LOOKS_AT_ONCE = 400.0
"""so many of a burst all the same: changed images should not have to wait for their turn"""

LOOKS_TOGETHER = 16
"""so many are due before any is looked at again: in a large batch a look at few costs as much"""

WINDOW_SECONDS = 300.0
SLICE_SECONDS = 15.0

Key = tuple[str, int]
"""a model's name and version"""


class Answers:
    """Those of one version by one protocol."""

    __slots__ = ("seconds", "statuses")

    def __init__(self) -> None:
        self.seconds = Histogram(SECONDS)
        self.statuses: dict[int, int] = defaultdict(int)


class VersionFigures:
    """All that is counted of one version, since the start."""

    def __init__(self, predictor: Predictor) -> None:
        self.labels = predictor.labels
        self.answers: dict[str, Answers] = {}
        self.batches = Histogram(IMAGES)
        self.run_seconds = Histogram(SECONDS)
        self.predicted = [0] * len(predictor.labels)
        self.window = Window(predictor.input_shape[2])
        self.looks = LOOKS_AT_ONCE
        self.looked_at = float("-inf")
        self.looking = False
        self.past: deque[Slice] = deque()
        """what had been counted at moments of the last minutes, the oldest first"""

    def so_far(self) -> Counted:
        answers = self.answers.values()
        return {
            "requests": sum(sum(entry.statuses.values()) for entry in answers),
            "errors": sum(count for entry in answers for status, count in entry.statuses.items() if status >= 400),
            "latency": np.sum(
                [[0] * (len(SECONDS) + 1), *(entry.seconds.counts for entry in answers)], axis=0
            ).tolist(),
            "images": int(self.batches.total),
            "runs": sum(self.batches.counts),
            "predicted": list(self.predicted),
        }


Counted = dict[str, Any]
"""requests, errors, images, runs; latency (counts by SECONDS); predicted (counts by label)"""


@dataclass(frozen=True)
class Slice:
    """What had been counted at a moment, in seconds of the recorder's clock."""

    at: float
    counted: Counted


class Recorder:
    """Is told of each answer and, as the engine's observer, of each run. To be used from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.versions: dict[Key, VersionFigures] = {}
        self.unresolved: dict[tuple[str, int], int] = defaultdict(int)
        """answers by protocol and status of requests that named no model there is, or could not be read so far"""
        self.errors: dict[tuple[str, str], int] = defaultdict(int)
        """by protocol and code"""

    def answered(
        self, protocol: str, predictor: Predictor | None, status: int, code: str | None, seconds: float
    ) -> None:
        """A request was answered, by `predictor` if it got that far; `code` names the error; `seconds` since it began."""
        if code is not None:
            self.errors[protocol, code] += 1
        if predictor is None:
            self.unresolved[protocol, status] += 1
            return
        figures = self.versions.get((predictor.name, predictor.version)) or self._begin(predictor)
        answers = figures.answers.get(protocol)
        if answers is None:
            answers = figures.answers[protocol] = Answers()
        answers.seconds.observe(seconds)
        answers.statuses[status] += 1

    def ran(self, predictor: Predictor, images: NDArray[Any], scores: Scores, requests: int, seconds: float) -> None:
        figures = self.versions.get((predictor.name, predictor.version)) or self._begin(predictor)
        figures.batches.observe(len(images))
        figures.run_seconds.observe(seconds)
        labels = scores.logits.argmax(axis=1)
        for label in labels.tolist():
            figures.predicted[label] += 1
        self._look(figures, images, labels)

    def rotate(self) -> None:
        """Remembers the present figures, so that those of the last minutes can be told; call it every few seconds."""
        now = self._clock()
        for figures in self.versions.values():
            past = figures.past
            if not past or now - past[-1].at >= SLICE_SECONDS:
                past.append(Slice(now, figures.so_far()))
            while len(past) > 1 and now - past[1].at >= WINDOW_SECONDS:
                past.popleft()

    def lately(self, figures: VersionFigures) -> Counted:
        """What was counted in the last minutes."""
        before = figures.past[0].counted if figures.past else None
        counted = figures.so_far()
        return {name: _less(value, before[name]) for name, value in counted.items()} if before else counted

    def _begin(self, predictor: Predictor) -> VersionFigures:
        if len(self.versions) >= MOST_VERSIONS:
            self.versions.pop(min(self.versions, key=lambda key: self.versions[key].looked_at))
        figures = self.versions[predictor.name, predictor.version] = VersionFigures(predictor)
        figures.past.append(Slice(self._clock(), figures.so_far()))
        return figures

    def _look(self, figures: VersionFigures, images: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """At as many of the images as are due, once so many are that a look pays."""
        now = self._clock()
        due = min(LOOKS_AT_ONCE, figures.looks + (now - figures.looked_at) * LOOKS_A_SECOND)
        figures.looked_at = now
        looking = figures.looking or due >= LOOKS_TOGETHER
        count = min(int(due), len(images)) if looking else 0
        figures.looks = due - count
        figures.looking = looking and figures.looks >= 1
        if count:
            figures.window.add(pixel_counts(images[:count]), labels[:count])


def _less(value: Any, before: Any) -> Any:
    if isinstance(value, list):
        return [now - then for now, then in zip(value, before, strict=True)]
    return value - before
