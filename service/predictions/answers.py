"""From a network's scores to the answer's JSON."""

from __future__ import annotations

from typing import Any

import orjson

from service.predictions.predictor import Predictor, Scores


def predictions_of(predictor: Predictor, scores: Scores, top: int) -> list[dict[str, Any]]:
    """One for each image, with the `top` likeliest labels or as many as there are."""
    labels = predictor.labels
    predictions = []
    for order, probabilities in zip(scores.ranking[:, :top].tolist(), scores.probabilities.tolist(), strict=True):
        ranked = [{"label": labels[index], "probability": probabilities[index]} for index in order]
        predictions.append({**ranked[0], "top": ranked})
    return predictions


def render(predictor: Predictor, predictions: list[dict[str, Any]]) -> bytes:
    """The answer of a predict request."""
    model = {"name": predictor.name, "version": predictor.version, "job": predictor.job}
    return orjson.dumps({"model": model, "predictions": predictions})
