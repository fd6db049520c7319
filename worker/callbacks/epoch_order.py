"""Tells the data pipeline which epoch begins."""

from __future__ import annotations

from typing import Any

import keras

from worker.pipeline import EpochOrder


class EpochOrderSetter(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, order: EpochOrder) -> None:
        super().__init__()
        self._order = order

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._order.epoch = epoch
