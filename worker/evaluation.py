"""Test metrics of a trained network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from worker.datasets.images import Images
from worker.pipeline import evaluation_batches

Logits = NDArray[np.float32]


def predict_logits(network: Any, images: Images, batch_size: int) -> Logits:
    """Logits of shape (images, classes)."""
    logits: Logits = network.predict(evaluation_batches(images, batch_size), verbose=0)
    return logits


def evaluate(network: Any, images: Images, batch_size: int, loss: Callable[[Any, Any], Any]) -> dict[str, float | None]:
    """`test_loss` (null when not finite) and `test_accuracy`."""
    return _metrics(predict_logits(network, images, batch_size), images, loss)


def full_evaluation(
    network: Any, images: Images, batch_size: int, loss: Callable[[Any, Any], Any], labels: Sequence[str]
) -> dict[str, Any]:
    """Those metrics with per-class figures and the confusion matrix (rows: truth, columns: predicted)."""
    logits = predict_logits(network, images, batch_size)
    predicted = logits.argmax(axis=1)
    numbers = list(range(len(labels)))
    precision, recall, f1, support = precision_recall_fscore_support(
        images.labels, predicted, labels=numbers, zero_division=0.0
    )
    return {
        **_metrics(logits, images, loss),
        "images": len(images.labels),
        "labels": list(labels),
        "per_class": [
            {
                "label": label,
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "support": int(support[number]),
            }
            for number, label in enumerate(labels)
        ],
        "confusion_matrix": confusion_matrix(images.labels, predicted, labels=numbers).tolist(),
    }


def _metrics(logits: Logits, images: Images, loss: Callable[[Any, Any], Any]) -> dict[str, float | None]:
    mean_loss = float(np.mean(np.asarray(loss(images.labels, logits))))
    accuracy = float(np.mean(logits.argmax(axis=1) == images.labels))
    return {"test_loss": mean_loss if math.isfinite(mean_loss) else None, "test_accuracy": accuracy}
