"""How a network is trained: the parts of a job spec that have options of their own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.schema import Schema

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Epochs = Annotated[float, Field(gt=0, le=100_000)]
Monitor = Literal["val_loss", "val_accuracy", "loss", "accuracy"]


class CrossEntropy(Schema):
    """Both names mean the same here: labels are integers outside and one-hot inside, as each needs them."""

    name: Literal["sparse_categorical_crossentropy", "categorical_crossentropy"]
    label_smoothing: Share = 0.0
    """taken from the true class and shared among all"""


class FocalCrossEntropy(Schema):
    """Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection", ICCV 2017."""

    name: Literal["focal"]
    gamma: Annotated[float, Field(ge=0, le=100)] = 2.0
    """how little images count that are classified well"""
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.25
    label_smoothing: Share = 0.0


class LossOfProbabilities(Schema):
    """Compares probabilities with one-hot labels."""

    name: Literal["mean_absolute_error", "mean_squared_error", "poisson", "kl_divergence"]


Loss = CrossEntropy | FocalCrossEntropy | LossOfProbabilities
LossSpec = Annotated[Loss, Field(discriminator="name")]


class EarlyStopping(Schema):
    """Ends a phase when `monitor` has not improved for `patience` epochs."""

    monitor: Monitor = "val_loss"
    patience: Annotated[int, Field(ge=0, le=10_000)] = 3
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    restore_best: bool = True
    """go on with the weights of the best epoch by `monitor`, into the next phase and as the job's last"""


class Augmentation(Schema):
    """Random changes of training images, drawn for each image and epoch from the job's seed."""

    flip: Literal["horizontal", "vertical", "both"] | None = None
    rotation: Annotated[float, Field(gt=0, le=1)] | None = None
    """up to this part of a full turn, either way"""
    zoom: Annotated[float, Field(gt=0, lt=1)] | None = None
    """up to this part larger or smaller"""
    translation: Annotated[float, Field(gt=0, le=1)] | None = None
    """up to this part of a side, either way"""
    contrast: Annotated[float, Field(gt=0, le=1)] | None = None
    """up to this part more or less"""
    cutout: Annotated[float, Field(gt=0, le=1)] | None = None
    """a grey square of this part of a side (DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017)"""
    mixup: Annotated[float, Field(gt=0, le=100)] | None = None
    """alpha (Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018)"""
    cutmix: Annotated[float, Field(gt=0, le=100)] | None = None
    """alpha (Yun et al., "CutMix", ICCV 2019)"""
    mode: Literal["fresh", "doubled"] = "fresh"
    """fresh: other changes in every epoch; doubled: the images as they are and one changed copy of each, drawn once"""

    @property
    def kinds(self) -> list[str]:
        """Names of what is asked for, in the order in which it is done."""
        return [name for name in type(self).model_fields if name != "mode" and getattr(self, name) is not None]


class GradientClipping(Schema):
    """One of three."""

    norm: Positive | None = None
    """of each weight array's gradient"""
    global_norm: Positive | None = None
    """of all gradients together"""
    value: Positive | None = None
    """of each number"""


class _Schedule(Schema):
    warmup_epochs: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """in which the learning rate rises from 0; parts of an epoch are possible"""


class Constant(_Schedule):
    name: Literal["constant"]


class CosineDecay(_Schedule):
    """Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts."""

    name: Literal["cosine"]
    final_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """of the learning rate, reached at the phase's end"""


class ExponentialDecay(_Schedule):
    name: Literal["exponential"]
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.96
    every_epochs: Epochs = 1.0
    staircase: bool = False
    """in steps, rather than all the time"""


class PiecewiseConstant(_Schedule):
    name: Literal["piecewise"]
    boundaries: Annotated[list[Epochs], Field(min_length=1, max_length=100)]
    """finished epochs of the phase after which the rate changes"""
    factors: Annotated[list[Positive], Field(min_length=1, max_length=100)]
    """of the learning rate from each boundary on"""


class ReduceOnPlateau(Schema):
    name: Literal["reduce_on_plateau"]
    monitor: Monitor = "val_loss"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0, le=10_000)] = 3
    """epochs without an improvement"""
    min_delta: Annotated[float, Field(ge=0)] = 1e-4
    cooldown: Annotated[int, Field(ge=0, le=10_000)] = 0
    """epochs to wait after a change before looking again"""
    min_learning_rate: Annotated[float, Field(ge=0)] = 0.0


StepSchedule = Constant | CosineDecay | ExponentialDecay | PiecewiseConstant
"""Schedules that know the rate of every step beforehand."""

LearningRateSchedule = Annotated[StepSchedule | ReduceOnPlateau, Field(discriminator="name")]


class Phase(Schema):
    """Some epochs with a learning rate and a set of trained layers of their own, and a fresh optimizer."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] | None = None
    """null: the optimizer's"""
    unfreeze_from: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """train the base from this layer on; null: what the phase before trained"""
