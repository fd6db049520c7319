"""From pictures to the answer's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import orjson

from service.predictions.instances import Tensor
from service.predictions.predictor import Predictor, Ranking


def answer(predictor: Predictor, pictures: Iterable[Tensor], top: int) -> bytes:
    """Runs the network over all pictures, a batch at a time, and names the `top` likeliest labels of each."""
    predictions: list[dict[str, Any]] = []
    for batch in _batches(pictures, predictor.batch):
        predictions += predictions_of(predictor, predictor.rank(np.stack(batch)), top)
    return render(predictor, predictions)


def predictions_of(predictor: Predictor, ranking: Ranking, top: int) -> list[dict[str, Any]]:
    """One for each image, with the `top` likeliest labels or as many as there are."""
    labels = predictor.labels
    predictions = []
    for order, probabilities in zip(
        ranking.order[:, :top].tolist(), ranking.probabilities[:, :top].tolist(), strict=True
    ):
        ranked = [
            {"label": labels[index], "probability": probability}
            for index, probability in zip(order, probabilities, strict=True)
        ]
        predictions.append({**ranked[0], "top": ranked})
    return predictions


def render(predictor: Predictor, predictions: list[dict[str, Any]]) -> bytes:
    """The answer of a predict request."""
    model = {"name": predictor.name, "version": predictor.version, "job": predictor.job}
    return orjson.dumps({"model": model, "predictions": predictions})


def _batches(pictures: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    rest = iter(pictures)
    while batch := list(islice(rest, size)):
        yield batch
