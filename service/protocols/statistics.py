"""What this process has run, as Triton's statistics tell it."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from service.predictions.predictor import Predictor, Scores

_NOT_MEASURED = {"count": 0, "ns": 0}


@dataclass
class Counts:
    """Of one version."""

    last: float = 0.0
    """Unix time of the last run"""
    images: int = 0
    requests: int = 0
    request_seconds: float = 0.0
    """each request's run, added up"""
    runs: dict[int, tuple[int, float]] = field(default_factory=dict)
    """number and seconds by how many images were run at once"""

    def add(self, images: int, requests: int, seconds: float) -> None:
        self.last = time.time()
        self.images += images
        self.requests += requests
        self.request_seconds += requests * seconds
        count, total = self.runs.get(images, (0, 0.0))
        self.runs[images] = (count + 1, total + seconds)


class Statistics:
    """An observer of the engine."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, int], Counts] = defaultdict(Counts)

    def ran(self, predictor: Predictor, images: NDArray[Any], scores: Scores, requests: int, seconds: float) -> None:
        self._counts[predictor.name, predictor.version].add(len(images), requests, seconds)

    def of(self, name: str | None = None, version: int | None = None) -> dict[str, Any]:
        """Of every version that has run, of one model's, or of one version. What is not measured is 0."""
        return {
            "model_stats": [
                _shown(model, number, counts)
                for (model, number), counts in sorted(self._counts.items())
                if name in (None, model) and version in (None, number)
            ]
        }


def _shown(name: str, version: int, counts: Counts) -> dict[str, Any]:
    runs = _duration(counts.requests, counts.request_seconds)
    unmeasured = ("fail", "queue", "compute_input", "compute_output", "cache_hit", "cache_miss")
    return {
        "name": name,
        "version": str(version),
        "last_inference": int(counts.last * 1000),
        "inference_count": counts.images,
        "execution_count": sum(count for count, _ in counts.runs.values()),
        "inference_stats": {"success": runs, "compute_infer": runs, **dict.fromkeys(unmeasured, _NOT_MEASURED)},
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _NOT_MEASURED,
                "compute_infer": _duration(count, seconds),
                "compute_output": _NOT_MEASURED,
            }
            for size, (count, seconds) in sorted(counts.runs.items())
        ],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
