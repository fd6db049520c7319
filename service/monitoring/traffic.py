"""What all processes together have seen of a model's versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from core.repositories.traffic import Reference
from service.monitoring.drift import Comparison, Counts, Drift, Verdict, add_up, judge
from service.monitoring.histogram import SECONDS, quantile
from service.monitoring.recorder import WINDOW_SECONDS


class Latency(BaseModel):
    """Milliseconds from a request's headers to its answer, within a tenth of a decade; null while there is none."""

    p50: float | None
    p95: float | None
    p99: float | None


class ComparisonView(BaseModel):
    """A population stability index, and the thresholds that it is judged by."""

    score: float
    suspected_above: float
    drift_above: float


class DriftView(BaseModel):
    """How the last images looked at (up to 1,000 for each API process) compare with the training set.

    `no_reference`: the version was published without statistics; `too_few`: fewer than 100 images. `inputs` compares
    pixel values, of the channel that has changed most; `labels` compares what was predicted with predictions of held-out images.
    """

    verdict: Verdict
    images: int
    inputs: ComparisonView | None
    labels: ComparisonView | None


class VersionTraffic(BaseModel):
    version: int
    processes: int = Field(description="API processes that have told of it within the last minute")
    requests: int
    errors: int = Field(description="requests answered with a status of 400 or more")
    images: int = Field(description="that the network was run on")
    batch_mean: float | None = Field(description="images in a run, on average")
    latency_ms: Latency
    predicted: dict[str, int] = Field(
        description="how often each label was predicted; labels never predicted are left out"
    )
    drift: DriftView


class ModelTraffic(BaseModel):
    """Of the last minutes, for each version that had requests."""

    name: str
    window_seconds: int
    versions: list[VersionTraffic]


def traffic_of(
    name: str,
    told: Iterable[tuple[int, dict[str, Any]]],
    references: Mapping[int, Reference],
) -> ModelTraffic:
    """Adds up what processes have told of each version; the newest version first."""
    by_version: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for version, data in told:
        by_version[version].append(data)
    versions = [
        _version(version, by_version[version], references[version])
        for version in sorted(by_version.keys() & references.keys(), reverse=True)
    ]
    return ModelTraffic(name=name, window_seconds=int(WINDOW_SECONDS), versions=versions)


def _version(version: int, told: list[dict[str, Any]], reference: Reference) -> VersionTraffic:
    requests, errors, images, runs = (
        sum(data[field] for data in told) for field in ("requests", "errors", "images", "runs")
    )
    latency = np.sum([data["latency"] for data in told], axis=0).tolist()
    predicted = np.sum([data["predicted"] for data in told], axis=0).tolist()
    return VersionTraffic(
        version=version,
        processes=len(told),
        requests=requests,
        errors=errors,
        images=images,
        batch_mean=images / runs if runs else None,
        latency_ms=Latency(
            p50=_milliseconds(latency, 0.50), p95=_milliseconds(latency, 0.95), p99=_milliseconds(latency, 0.99)
        ),
        predicted={label: count for label, count in zip(reference.labels, predicted, strict=True) if count},
        drift=_drift(told, reference.statistics),
    )


def _milliseconds(latency: list[int], fraction: float) -> float | None:
    seconds = quantile(latency, SECONDS, fraction)
    return None if seconds is None else round(seconds * 1000, 3)


def _drift(told: list[dict[str, Any]], reference: Counts | None) -> DriftView:
    windows = [data["windows"] for data in told if data["windows"]]
    if reference is None or not windows:
        drift = Drift(Verdict.NO_REFERENCE, 0)
    else:
        drift = judge([add_up(counts) for counts in zip(*windows, strict=True)], reference)
    return DriftView(
        verdict=drift.verdict, images=drift.images, inputs=_compared(drift.inputs), labels=_compared(drift.labels)
    )


def _compared(comparison: Comparison | None) -> ComparisonView | None:
    if comparison is None:
        return None
    return ComparisonView(
        score=round(comparison.score, 4),
        suspected_above=round(comparison.suspected_above, 4),
        drift_above=round(comparison.drift_above, 4),
    )
