"""Pictures of requests that wait for a run, and what becomes of them after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.predictions.predictor import Scores


class Waiting(NamedTuple):
    """Pictures of one request."""

    images: NDArray[Any]
    future: asyncio.Future[Scores]


def together(batch: Sequence[Waiting]) -> NDArray[Any]:
    """All their pictures in one array."""
    return batch[0].images if len(batch) == 1 else np.concatenate([waiting.images for waiting in batch])


def hand_out(batch: Sequence[Waiting], scores: Scores) -> None:
    """Gives each its own."""
    logits, probabilities, ranking = scores
    start = 0
    for waiting in batch:
        end = start + len(waiting.images)
        if not waiting.future.done():
            waiting.future.set_result(Scores(logits[start:end], probabilities[start:end], ranking[start:end]))
        start = end


def fail(batch: Sequence[Waiting], error: BaseException) -> None:
    """Tells all of them."""
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
