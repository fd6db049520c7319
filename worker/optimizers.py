"""From an optimizer's options to a Keras optimizer."""

from __future__ import annotations

from typing import Any

import keras

from core.optimizers import OptimizerOptions

_CLASSES = {
    "adadelta": keras.optimizers.Adadelta,
    "adafactor": keras.optimizers.Adafactor,
    "adagrad": keras.optimizers.Adagrad,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "adamax": keras.optimizers.Adamax,
    "ftrl": keras.optimizers.Ftrl,
    "lamb": keras.optimizers.Lamb,
    "lion": keras.optimizers.Lion,
    "muon": keras.optimizers.Muon,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
    "schedule_free_adamw": keras.optimizers.ScheduleFreeAdamW,
    "sgd": keras.optimizers.SGD,
}


def make_optimizer(options: OptimizerOptions) -> Any:
    """The Keras optimizer that a job spec asks for."""
    arguments = options.model_dump()
    return _CLASSES[arguments.pop("name")](**arguments)
