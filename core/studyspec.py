"""The study spec: many job specs in one (the contract's POST /api/v1/studies body)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from core.jobspec import MOST_EPOCHS, Count, Name, ObjectiveSpec, Seed
from core.schema import Schema

MOST_SEEDS = 100
MOST_VARIANTS = 1_000
MOST_RUNS = 10_000
"""jobs of a study"""

FieldPath = Annotated[str, Field(min_length=1, max_length=200)]
"""of a field of the job spec: dotted (optimizer.learning_rate) or an RFC 6901 pointer (/optimizer/learning_rate)"""


class Range(Schema):
    """Numbers that a random or Bayesian search draws from, both ends included."""

    low: float
    high: float
    log: bool = False
    """drawn evenly on a logarithmic scale"""
    integer: bool = False

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range begins above 0")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("an integer range has integer ends")
        return self


def _kind_of_values(value: Any) -> str | None:
    match value:
        case list():
            return "(values)"
        case Mapping() | Range():
            return "(range)"
    return None


Values = Annotated[
    Annotated[list[Any], Field(max_length=MOST_VARIANTS), Tag("(values)")] | Annotated[Range, Tag("(range)")],
    Discriminator(
        _kind_of_values,
        custom_error_type="values",
        custom_error_message="must be a list of values, or a range with low and high",
    ),
]


class StartsFrom(Schema):
    """Whose weights a variant's base starts with: those of another variant's job of the same seed."""

    variant: Name
    unless: Literal["imagenet"] | None = None
    """imagenet: only where the published weights are not on the worker"""


class Variant(Schema):
    """One job spec of an explicit list: the base with some fields set."""

    name: Name
    set: dict[FieldPath, Any] = Field(default_factory=dict, max_length=50)
    starts_from: StartsFrom | None = None
    donor: bool = False
    """trained only where another variant starts from it, and left out of the analysis"""


class Search(Schema):
    """How points of the space are chosen."""

    method: Literal["grid", "random", "bayesian"] = "grid"
    """bayesian: Bergstra et al., "Algorithms for hyper-parameter optimization", NIPS 2011 (Optuna's TPE)"""
    trials: Annotated[int, Field(ge=1, le=MOST_VARIANTS)] | None = None
    """how many points a random or Bayesian search tries"""
    seed: Seed = 0


class Pruning(Schema):
    """Ends bad trials early, by their objective after so many epochs."""

    method: Literal["successive_halving", "hyperband", "median"] = "successive_halving"
    """Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020 (asynchronous halving); Li et al., "Hyperband",
    JMLR 2018; median: worse than the median of earlier trials at the same epoch. Optuna's pruners"""
    min_epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 1
    """before which no trial is ended"""
    reduction_factor: Annotated[int, Field(ge=2, le=10)] = 3
    """of so many trials at a rung, one goes on"""


class Budget(Schema):
    """Makes every job of a study smaller, so that it fits a smaller machine."""

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = None
    """at most so many, in each phase"""
    train_images: Count | None = None
    """at most so many"""
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] | None = None
    """at most so many"""
    width: Annotated[float, Field(gt=0, le=1)] | None = None
    """multiplies the width of every architecture that has one"""
    stand_in: Name | None = None
    """the dataset that is used while the base's has not been imported"""


class StudySpec(Schema):
    """Many jobs from one base and a search space or an explicit list, each with several seeds."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    question: Annotated[str, Field(max_length=2000)] | None = None
    """what the study is to answer, for its report"""
    base: dict[str, Any]
    """a job spec; what is no field of the space is as it says"""
    space: Annotated[dict[FieldPath, Values], Field(min_length=1, max_length=50)] | None = None
    variants: Annotated[list[Variant], Field(min_length=1, max_length=MOST_VARIANTS)] | None = None
    search: Search = Search()
    seeds: (
        Annotated[int, Field(ge=1, le=MOST_SEEDS)] | Annotated[list[Seed], Field(min_length=1, max_length=MOST_SEEDS)]
    ) = 3
    """how many, counted up from the base's, or which"""
    objective: ObjectiveSpec | None = None
    """null: the base's"""
    target: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """of the objective's metric, for the epochs that it took to get there"""
    pruning: Pruning | None = None
    max_parallel: Annotated[int, Field(ge=1, le=MOST_RUNS)] | None = None
    """at most so many of its jobs wait or train at once; null: as many as workers take"""
    budget: Budget | None = None
    reuse: bool = True
    """take a finished job with the same spec, data and seed instead of training it again"""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.space is None) == (self.variants is None):
            raise ValueError("needs either a space or variants")
        return self

    @property
    def adaptive(self) -> bool:
        """Whether variants are chosen one by one while the study runs."""
        return self.search.method != "grid"

    @property
    def all_seeds(self) -> list[int]:
        first = self.base.get("seed")
        first = first if isinstance(first, int) and not isinstance(first, bool) else 0
        seeds = list(self.seeds) if isinstance(self.seeds, list) else list(range(first, first + self.seeds))
        most = self.budget.seeds if self.budget and self.budget.seeds else len(seeds)
        return seeds[:most]


def pointer_of(path: str) -> str:
    """An RFC 6901 pointer from either form of a path."""
    return path if path.startswith("/") else "/" + path.replace(".", "/")


def combinations(space: Mapping[str, list[Any] | Range]) -> int:
    """How many points a grid over the space's lists has."""
    return math.prod(len(values) for values in space.values() if isinstance(values, list))
