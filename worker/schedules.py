"""Learning rates that change from step to step: Keras's own schedules, and a warm-up that any of them may have."""

from __future__ import annotations

from typing import Any

import keras

from core.training_options import CosineDecay, ExponentialDecay, PiecewiseConstant, StepSchedule

Tensor = Any


def make_schedule(spec: StepSchedule, rate: float, steps: int, epochs: int) -> Any:
    """A keras LearningRateSchedule (or the rate itself) for a phase of `epochs` epochs of `steps` steps."""
    warmup = round(spec.warmup_epochs * steps)
    after = _without_warmup(spec, rate, steps, warmup, max(1, epochs * steps - warmup))
    return Warmup(rate, warmup, after) if warmup else after


def _without_warmup(spec: StepSchedule, rate: float, steps: int, warmup: int, all_steps: int) -> Any:
    """For `all_steps` steps, counted from the end of `warmup` steps."""
    schedules = keras.optimizers.schedules
    match spec:
        case CosineDecay():
            return schedules.CosineDecay(rate, all_steps, alpha=spec.final_fraction)
        case ExponentialDecay():
            every = max(1, round(spec.every_epochs * steps))
            return schedules.ExponentialDecay(rate, every, spec.decay_rate, staircase=spec.staircase)
        case PiecewiseConstant():
            # Keras changes the rate after a boundary's step; ours name finished epochs of the phase, its warm-up included.
            boundaries = [round(boundary * steps) - warmup - 1 for boundary in spec.boundaries]
            return schedules.PiecewiseConstantDecay(boundaries, [rate, *(rate * factor for factor in spec.factors)])
    return rate


class Warmup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises in a straight line from 0 to `rate` within `steps` steps, then does as `after` says.

    Source: P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.
    """

    def __init__(self, rate: float, steps: int, after: Any) -> None:
        super().__init__()
        self._rate = rate
        self._steps = steps
        self._after = after

    def __call__(self, step: Tensor) -> Tensor:
        done = keras.ops.cast(step, "float32")
        rising = self._rate * (done + 1) / self._steps
        later = self._after
        if callable(later):
            later = later(keras.ops.maximum(done - self._steps, 0))
        return keras.ops.where(done < self._steps, rising, later)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self._rate, "steps": self._steps, "after": self._after}
