"""What one process has counted, copied on the event loop so that a thread can write it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.repositories.counts import Counts
from service.monitoring.control_plane import Meter, Route
from service.monitoring.drift import Drift
from service.monitoring.histogram import Histogram
from service.monitoring.recorder import Key, Recorder
from service.predictions.predictor import Predictor


@dataclass(frozen=True)
class Answered:
    """The answers of one version by one protocol."""

    key: Key
    protocol: str
    seconds: Histogram
    statuses: dict[int, int]


@dataclass(frozen=True)
class Snapshot:
    """Of one moment."""

    answered: list[Answered]
    runs: list[tuple[Key, Histogram, Histogram]]
    """images and seconds of each version's runs"""
    unresolved: dict[tuple[str, int], int]
    errors: dict[tuple[str, str], int]
    queued: Mapping[Key, int]
    loaded: Sequence[Predictor]
    drifts: Mapping[Key, Drift]
    routes: dict[Route, Histogram]
    statuses: dict[tuple[Route, int], int]
    counts: Counts | None
    """None while the database is away"""


def copied(
    recorder: Recorder,
    control_plane: Meter,
    queued: Mapping[Key, int],
    loaded: Sequence[Predictor],
    drifts: Mapping[Key, Drift],
    counts: Counts | None,
) -> Snapshot:
    """Of what the event loop writes to; to be called on it."""
    versions = recorder.versions.items()
    return Snapshot(
        answered=[
            Answered(key, protocol, entry.seconds.copy(), dict(entry.statuses))
            for key, figures in versions
            for protocol, entry in figures.answers.items()
        ],
        runs=[(key, figures.batches.copy(), figures.run_seconds.copy()) for key, figures in versions],
        unresolved=dict(recorder.unresolved),
        errors=dict(recorder.errors),
        queued=queued,
        loaded=loaded,
        drifts=drifts,
        routes={route: histogram.copy() for route, histogram in control_plane.seconds.items()},
        statuses=dict(control_plane.statuses),
        counts=counts,
    )
