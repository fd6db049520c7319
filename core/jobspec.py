"""The job spec: everything that determines a training run (the contract's POST /api/v1/jobs body)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_serializer

from core.objective import Direction, Objective, objective_of_metric
from core.optimizers import OptimizerSpec
from core.queues import MOST_DEVICES, Queue
from core.recipes import ArchitectureSpec
from core.recipes.recipe import LARGEST_SIDE
from core.schema import Schema
from core.training_options import (
    Augmentation,
    EarlyStopping,
    GradientClipping,
    LearningRateSchedule,
    Loss,
    LossSpec,
    Phase,
)

Fraction = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
LARGEST_SEED = 2**31 - 1
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Count = Annotated[int, Field(ge=1, le=10**9)]
MOST_EPOCHS = 100_000
"""of a job, all phases together"""
Precision = Literal["auto", "float32", "bfloat16", "float16"]


ClassWeight = Annotated[float, Field(ge=0, le=1e6)]


def _kind_of_class_weights(value: Any) -> str:
    return "(labels)" if isinstance(value, Mapping) else "(name)"


ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("(name)")] | Annotated[dict[str, ClassWeight], Tag("(labels)")],
    Discriminator(_kind_of_class_weights),
]


def _kind_of_class(value: Any) -> str | None:
    match value:
        case bool():
            return None
        case str():
            return "(label)"
        case int():
            return "(index)"
    return None


ClassName = Annotated[
    Annotated[str, Tag("(label)")] | Annotated[int, Field(ge=0), Tag("(index)")],
    Discriminator(_kind_of_class, custom_error_type="class", custom_error_message="must be a label or an index"),
]


def _named(value: Any) -> Any:
    """The short form: a bare name stands for the name with all defaults."""
    return {"name": value} if isinstance(value, str) else value


class DatasetSpec(Schema):
    """What the job sees of a dataset."""

    name: Name
    view: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] | None = None
    """a name of the client's for this view: its labels and its split; once given, it always means the same"""
    classes: Annotated[list[ClassName], Field(min_length=2, max_length=10_000)] | None = None
    """a subset of the classes, by label or index; kept in the dataset's order"""
    validation_fraction: Fraction | None = 0.15
    """only where the set has no validation split of its own; null: 0.15"""
    test_fraction: Fraction | None = None
    """only where the set has no test split of its own; then 0.15"""
    split: Literal["stratified", "last"] = "stratified"
    train_limit: Count | None = None
    """train on at most so many images, each class in proportion"""
    image_size: Annotated[int, Field(ge=1, le=LARGEST_SIDE)] | None = None
    """pixels of a side; null: the dataset's own where the architecture can take it, else the architecture's"""
    color: Literal["rgb", "grayscale"] | None = None
    """null: the dataset's own"""
    seed: Seed = 0
    """decides the split, and nothing else"""


class ObjectiveSpec(Schema):
    """Which epoch is best, and which model serves."""

    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    direction: Literal["max", "min"] | None = None
    """null: max for an accuracy, min for a loss"""

    def resolved(self) -> Objective:
        return Objective(self.metric, Direction(self.direction)) if self.direction else objective_of_metric(self.metric)


class JobSpec(Schema):
    """A training run. Only `dataset` and `architecture` are required."""

    dataset: Annotated[DatasetSpec, BeforeValidator(_named)]
    architecture: Annotated[ArchitectureSpec, BeforeValidator(_named)]
    optimizer: Annotated[OptimizerSpec, BeforeValidator(_named)] = Field(default="adam", validate_default=True)
    loss: Annotated[LossSpec, BeforeValidator(_named)] = Field(
        default="sparse_categorical_crossentropy", validate_default=True
    )
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 25
    early_stopping: EarlyStopping | None = None
    augmentation: Augmentation | None = None
    objective: ObjectiveSpec = ObjectiveSpec()
    learning_rate_schedule: Annotated[LearningRateSchedule | None, BeforeValidator(_named)] = None
    """null: constant; with phases, each runs through it"""
    gradient_clipping: GradientClipping | None = None
    class_weights: ClassWeights | None = None
    """how much the training loss counts an image of each class: balanced, or by label (others count 1)"""
    phases: Annotated[list[Phase], Field(min_length=1, max_length=20)] | None = None
    """parts of one training, one after the other; `epochs` is then their sum"""
    publish: Literal["best", "last"] = "best"
    """which epoch's weights are evaluated and published"""
    precision: Precision = "auto"
    """what is computed with; weights and what is published are float32. auto: bfloat16 where a short trial is faster"""
    devices: Annotated[int, Field(ge=1, le=MOST_DEVICES)] = 1
    """how many GPUs of one machine share each batch; on a CPU, virtual devices that do so"""
    queue: Queue | None = None
    """cpu or gpu: the workers that may take the job; null: any"""
    seed: Seed = 0
    """decides initial weights, data order, dropout and augmentation: everything but the split"""
    deterministic: bool = False
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """higher runs earlier"""
    timeout_seconds: Annotated[float, Field(gt=0, le=10**8)] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """consecutive attempts that may end without a finished epoch"""
    tags: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=256)]],
        Field(max_length=32),
    ] = Field(default_factory=dict)

    @field_serializer("loss")
    def _short(self, loss: Loss) -> Any:
        """A loss without options is known by its name."""
        return loss.name if loss == type(loss)(name=loss.name) else loss.model_dump()  # type: ignore[arg-type]

    @property
    def planned_phases(self) -> list[Phase]:
        """The phases; one of all epochs where the spec names none."""
        return self.phases or [Phase(epochs=self.epochs)]
