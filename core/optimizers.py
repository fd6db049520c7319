"""Keras's optimizers by name, with their options, limits and defaults (held equal to Keras's own by a test).

Options that need Python objects (inner optimizers, layer lists) have no place in a job spec and are left out; gradient
clipping is a field of its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.schema import Schema

Rate = Annotated[float, Field(gt=0, le=1e30)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Signed = Annotated[float, Field(ge=-1e6, le=1e6)]


class OptimizerOptions(Schema):
    learning_rate: Rate = 0.001
    weight_decay: NonNegative | None = None
    use_ema: bool = False
    ema_momentum: Decay = 0.99
    ema_overwrite_frequency: Annotated[int, Field(ge=1)] | None = None


class _AdamLike(OptimizerOptions):
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7


class Adadelta(OptimizerOptions):
    name: Literal["adadelta"]
    rho: Decay = 0.95
    epsilon: Positive = 1e-7


class Adafactor(OptimizerOptions):
    name: Literal["adafactor"]
    beta_2_decay: Annotated[float, Field(ge=-1e6, le=0)] = -0.8
    """the second moment's decay is 1 - step**this, which must not fall below 0"""
    epsilon_1: Positive = 1e-30
    epsilon_2: Positive = 1e-3
    clip_threshold: Positive = 1.0
    relative_step: bool = True


class Adagrad(OptimizerOptions):
    name: Literal["adagrad"]
    initial_accumulator_value: NonNegative = 0.1
    epsilon: Positive = 1e-7


class Adam(_AdamLike):
    name: Literal["adam"]
    amsgrad: bool = False


class AdamW(_AdamLike):
    name: Literal["adamw"]
    weight_decay: NonNegative | None = 0.004
    amsgrad: bool = False


class Adamax(_AdamLike):
    name: Literal["adamax"]


class Ftrl(OptimizerOptions):
    name: Literal["ftrl"]
    learning_rate_power: Annotated[float, Field(ge=-10, le=0)] = -0.5
    initial_accumulator_value: NonNegative = 0.1
    l1_regularization_strength: NonNegative = 0.0
    l2_regularization_strength: NonNegative = 0.0
    l2_shrinkage_regularization_strength: NonNegative = 0.0
    beta: NonNegative = 0.0


class Lamb(_AdamLike):
    name: Literal["lamb"]


class Lion(OptimizerOptions):
    name: Literal["lion"]
    beta_1: Annotated[float, Field(gt=0, le=1)] = 0.9
    beta_2: Decay = 0.99


class Muon(OptimizerOptions):
    name: Literal["muon"]
    weight_decay: NonNegative | None = 0.004
    adam_beta_1: Decay = 0.9
    adam_beta_2: Decay = 0.999
    adam_weight_decay: NonNegative = 0.004
    adam_lr_ratio: Positive = 1
    epsilon: Positive = 1e-7
    exclude_embeddings: bool = True
    muon_a: Signed = 3.4445
    muon_b: Signed = -4.775
    muon_c: Signed = 2.0315
    momentum: Decay = 0.95
    ns_steps: Annotated[int, Field(ge=1, le=50)] = 5
    nesterov: bool = True
    rms_rate: NonNegative = 0.2


class Nadam(_AdamLike):
    name: Literal["nadam"]


class RMSprop(OptimizerOptions):
    name: Literal["rmsprop"]
    rho: Decay = 0.9
    momentum: Decay = 0.0
    epsilon: Positive = 1e-7
    centered: bool = False


class ScheduleFreeAdamW(_AdamLike):
    name: Literal["schedule_free_adamw"]
    learning_rate: Rate = 0.0025
    beta_1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """divides the averaged weights"""
    epsilon: Positive = 1e-8
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 0


class SGD(OptimizerOptions):
    name: Literal["sgd"]
    learning_rate: Rate = 0.01
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.0
    nesterov: bool = False


OptimizerSpec = Annotated[
    Adadelta
    | Adafactor
    | Adagrad
    | Adam
    | AdamW
    | Adamax
    | Ftrl
    | Lamb
    | Lion
    | Muon
    | Nadam
    | RMSprop
    | ScheduleFreeAdamW
    | SGD,
    Field(discriminator="name"),
]
