"""From an optimizer's options to a Keras optimizer."""

from __future__ import annotations

from typing import Any

import keras

from core.jobspec import JobSpec
from core.optimizers import OptimizerOptions
from core.training_options import GradientClipping, Phase, ReduceOnPlateau
from worker.schedules import make_schedule

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


def make_optimizer(options: OptimizerOptions, rate: Any = None, clipping: GradientClipping | None = None) -> Any:
    """The Keras optimizer that options ask for. `rate`: a number or a Keras schedule in place of its learning rate."""
    arguments = options.model_dump()
    if rate is not None:
        arguments["learning_rate"] = rate
    if clipping is not None:
        arguments |= {"clipnorm": clipping.norm, "global_clipnorm": clipping.global_norm, "clipvalue": clipping.value}
    return _CLASSES[arguments.pop("name")](**arguments)


def optimizer_of(spec: JobSpec, phase: Phase, steps: int) -> Any:
    """A fresh optimizer for a phase whose epochs have `steps` steps."""
    rate: Any = phase.learning_rate or spec.optimizer.learning_rate
    schedule = spec.learning_rate_schedule
    if schedule is not None and not isinstance(schedule, ReduceOnPlateau):
        rate = make_schedule(schedule, rate, steps, phase.epochs)
    return make_optimizer(spec.optimizer, rate, spec.gradient_clipping)
