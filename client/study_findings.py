"""What a study found: its table, the effects of its factors, and who won. Differences are of the metric itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from client.answers import Answer


@dataclass(frozen=True)
class Mean(Answer):
    """Of one figure over seeds, with its 95 % interval where there is one; else `note` says why not."""

    n: int
    mean: float | None
    low: float | None
    high: float | None
    method: Literal["t", "bootstrap"] | None
    note: str | None = None


@dataclass(frozen=True)
class Difference(Answer):
    """Of one metric between two sides, paired over seeds: the first minus the second, with its 95 % interval."""

    metric: str
    pairs: int
    left_out: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    """adjusted for all comparisons of the answer"""
    method: Literal["t", "bootstrap"] | None
    note: str | None = None


@dataclass(frozen=True)
class ResultRow(Answer):
    """One variant; accuracies and times are means over the seeds whose run succeeded."""

    rank: int | None
    number: int
    name: str
    architecture: str
    optimizer: str
    loss: str
    batch_size: int | None
    epochs: int | None
    train_accuracy: float | None
    val_accuracy: float | None
    test_accuracy: float | None
    seeds: int
    finished: int
    objective: Mean
    test: Mean
    gap: float | None
    epochs_to_target: float | None
    reached_target: int | None
    seconds: float | None
    images_per_second: float | None
    states: Mapping[str, int]
    reused: int
    jobs: tuple[str, ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        means = {"objective": Mean.parse(data["objective"]), "test": Mean.parse(data["test"])}
        return super().parse({**data, **means, "jobs": tuple(data["jobs"])})


@dataclass(frozen=True)
class Winner(Answer):
    """The best variant of an architecture, or of all (None), and those that the seeds do not tell from it."""

    architecture: str | None
    number: int
    name: str
    objective: Mean
    tied: tuple[str, ...]
    sentence: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse({**data, "objective": Mean.parse(data["objective"]), "tied": tuple(data["tied"])})


@dataclass(frozen=True)
class StudyResults(Answer):
    """One row a variant, best first by the mean of the objective; then the winners: over all, and of each architecture."""

    metric: str
    direction: Literal["max", "min"]
    target: float | None
    rows: tuple[ResultRow, ...]
    winners: tuple[Winner, ...]
    """none where no run has the objective"""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        found = data.get("winners") or {"overall": None, "by_architecture": ()}
        winners = [*([found["overall"]] if found["overall"] else []), *found["by_architecture"]]
        return super().parse(
            {
                **data,
                "rows": tuple(ResultRow.parse(entry) for entry in data["rows"]),
                "winners": tuple(Winner.parse(entry) for entry in winners),
            }
        )


@dataclass(frozen=True)
class Effect(Answer):
    """Two levels of a factor, compared where everything else is equal."""

    factor: str
    level: str
    baseline: str
    where: str
    """the levels of the other factors in words; empty where there is only one"""
    objective: Difference
    test: Difference
    gap: Difference
    verdict: Literal["better", "worse", "not distinguishable", "cannot tell"]
    """after Holm's correction for all comparisons"""
    sentence: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        differences = {name: Difference.parse(data[name]) for name in ("objective", "test", "gap")}
        return super().parse({**data, **differences})


@dataclass(frozen=True)
class Interaction(Answer):
    """Whether a factor's difference is another one at another factor's level."""

    factor: str
    other: str
    difference: Difference
    clear: bool
    sentence: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse({**data, "difference": Difference.parse(data["difference"])})


@dataclass(frozen=True)
class EffectWarning(Answer):
    """What keeps a question from being answered."""

    code: str
    factors: tuple[str, ...]
    detail: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse({**data, "factors": tuple(data["factors"])})


@dataclass(frozen=True)
class StudyEffects(Answer):
    """Every comparison that the study allows; `statement` says how far they can be believed together."""

    metric: str
    direction: Literal["max", "min"]
    factors: Mapping[str, str]
    """in words, by the field of the job spec"""
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    warnings: tuple[EffectWarning, ...]
    statement: str
    data: Mapping[str, Any]
    """the whole answer"""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "factors": {entry["name"]: entry["label"] for entry in data["factors"]},
                "effects": tuple(Effect.parse(entry) for entry in data["effects"]),
                "interactions": tuple(Interaction.parse(entry) for entry in data["interactions"]),
                "warnings": tuple(EffectWarning.parse(entry) for entry in data["warnings"]),
                "data": data,
            }
        )
