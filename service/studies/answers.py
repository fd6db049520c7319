"""What a study says, as plain data: its table, effects and winners. Pictures, reports and routes are made from it.

Differences are of the metric itself (0.041 is 4.1 points of an accuracy). No figure is NaN: None where there is none, and then a
`note` says why. `dataclasses.asdict` gives what is sent as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Method = Literal["t", "bootstrap"]
"""t: Student's; bootstrap: percentile (from 20 values on)"""


class Verdict(StrEnum):
    """What a comparison says of its objective."""

    BETTER = "better"
    WORSE = "worse"
    NOT_DISTINGUISHABLE = "not distinguishable"
    CANNOT_TELL = "cannot tell"
    """fewer than two pairs"""


@dataclass(frozen=True)
class Mean:
    """Of one figure over seeds."""

    n: int
    """values that were there"""
    mean: float | None
    low: float | None
    """of the 95 % interval; None where there is none"""
    high: float | None
    method: Method | None
    note: str | None = None
    """why there is no interval"""


@dataclass(frozen=True)
class Difference:
    """Of one metric between two sides, paired over seeds: the first minus the second."""

    metric: str
    """val_accuracy, val_loss, test_accuracy, …; gap: training minus validation accuracy"""
    pairs: int
    left_out: int
    """seeds without a pair: a run failed, was pruned or has not finished"""
    difference: float | None
    """mean over the pairs"""
    low: float | None
    """of the 95 % interval of this comparison alone"""
    high: float | None
    p: float | None
    p_holm: float | None
    """adjusted for all comparisons of the answer by this metric"""
    method: Method | None
    note: str | None = None
    """why there is no interval"""


@dataclass(frozen=True)
class ResultRow:
    """One variant. Accuracies and times are means over its finished seeds."""

    rank: int | None
    """by the mean of the objective, from 1; None where no run has any"""
    number: int
    """the variant's"""
    name: str
    architecture: str
    optimizer: str
    """with the options in which the study's variants differ"""
    loss: str
    batch_size: int | None
    epochs: int | None
    """planned"""
    train_accuracy: float | None
    """at the best epoch, as val_accuracy"""
    val_accuracy: float | None
    test_accuracy: float | None
    """of the published weights"""
    seeds: int
    finished: int
    """seeds whose run succeeded: the means are theirs"""
    objective: Mean
    test: Mean
    gap: float | None
    """training minus validation accuracy at the best epoch"""
    epochs_to_target: float | None
    """median over the seeds that reached the target"""
    reached_target: int | None
    """how many seeds did; None without a target"""
    seconds: float | None
    images_per_second: float | None
    states: dict[str, int]
    """how many runs stand in each state; pruned ones as PRUNED"""
    reused: int
    """runs that were finished before the study came"""
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """The table, best first."""

    metric: str
    direction: Literal["max", "min"]
    target: float | None
    rows: tuple[ResultRow, ...]


@dataclass(frozen=True)
class Level:
    """A value that a factor takes."""

    text: str
    value: Any
    """as the job spec has it"""
    variants: tuple[int, ...]
    """numbers of the variants that have it"""


@dataclass(frozen=True)
class Factor:
    """What variants differ in."""

    name: str
    """the field of the job spec, dotted: optimizer, batch_size, dataset.train_limit, architecture.dropout"""
    label: str
    """in words: batch size, amount of data, dropout"""
    levels: tuple[Level, ...]
    """the baseline first, which is the first variant's; the others in order"""


@dataclass(frozen=True)
class Effect:
    """Two levels of a factor, compared where everything else is equal."""

    factor: str
    level: str
    """its text"""
    baseline: str
    level_value: Any
    baseline_value: Any
    context: dict[str, str] | None
    """levels of the other factors, by name; None: over all contexts, averaged within each seed"""
    where: str
    """the context in words (alexnet, batch size 32); empty where there is only one"""
    contexts: int
    """how many are in it"""
    variants: tuple[tuple[int, int], ...]
    """numbers of the variants compared: with the level, with the baseline"""
    objective: Difference
    test: Difference
    """test accuracy, of the published weights"""
    gap: Difference
    """training minus validation accuracy: what overfitting controls are to make smaller"""
    outside_alone: bool
    """whether the interval of this comparison alone leaves out zero"""
    verdict: Verdict
    """by the objective and all comparisons of the answer: Holm-adjusted p below 0.05"""
    sentence: str


@dataclass(frozen=True)
class Interaction:
    """Whether a factor's difference is another one at another factor's level: a difference of differences."""

    factor: str
    level: str
    baseline: str
    other: str
    """the factor it may depend on"""
    other_level: str
    other_baseline: str
    difference: Difference
    """of the objective: the factor's difference at other_level, minus that at other_baseline; p_holm: over all interactions"""
    clear: bool
    sentence: str


@dataclass(frozen=True)
class StudyWarning:
    """What keeps a question from being answered."""

    code: Literal["confounded", "too_many_levels", "too_few_seeds", "incomparable"]
    """incomparable: by a loss, runs with different losses"""
    factors: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class Effects:
    """Every comparison that the study allows, and how far they can be believed together."""

    metric: str
    direction: Literal["max", "min"]
    factors: tuple[Factor, ...]
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    warnings: tuple[StudyWarning, ...]
    comparisons: int
    """made by the objective"""
    outside_alone: int
    """of them, with an interval of their own that leaves out zero"""
    expected_by_chance: float
    """of them, were there no difference at all: one in twenty"""
    distinguishable: int
    """of them, after Holm's correction"""
    statement: str
    """the four figures above in words"""


@dataclass(frozen=True)
class Standing:
    """A variant beside the winner of its group."""

    number: int
    name: str
    difference: Difference
    """of the objective: winner minus this; p_holm: over the group"""
    distinguishable: bool


@dataclass(frozen=True)
class Winner:
    """The variant with the best mean of the objective in a group."""

    architecture: str | None
    """None: of all"""
    number: int
    name: str
    objective: Mean
    others: tuple[Standing, ...]
    """best first"""
    tied: tuple[str, ...]
    """names of those that the seeds do not tell from it"""
    sentence: str


@dataclass(frozen=True)
class Winners:
    """Of each architecture and of all."""

    metric: str
    direction: Literal["max", "min"]
    overall: Winner | None
    """None where no run has the objective"""
    by_architecture: tuple[Winner, ...]
