"""Factors and their levels in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson

from core.study_space import level_text
from core.training_options import Augmentation, EarlyStopping

LABELS = {
    "dataset.name": "dataset",
    "dataset.classes": "number of classes",
    "dataset.train_limit": "amount of data",
    "dataset.seed": "seed of the split",
    "learning_rate_schedule": "learning-rate schedule",
    "repeat": "repeat of one spec",
}
"""Where the field's own name would not do."""
USUAL = {
    "early_stopping": EarlyStopping().model_dump(mode="json"),
    "augmentation": Augmentation().model_dump(mode="json"),
}
"""Options that are not worth a word."""
SPEAKS_FOR_ITSELF = frozenset(
    {"architecture", "optimizer", "loss", "epochs", "dataset.name", "dataset.classes", "dataset.train_limit"}
)
"""Factors whose levels need no label: sgd, 25 epochs, 20 classes."""


def label_of(factor: str) -> str:
    return LABELS.get(factor) or factor.rpartition(".")[2].replace("_", " ")


def phrase(factor: str, text: str) -> str:
    """A level in a sentence: sgd, batch size 32, no augmentation."""
    if factor in SPEAKS_FOR_ITSELF:
        return text
    if text == "none":
        return f"no {label_of(factor)}"
    return f"repeat {text}" if factor == "repeat" else f"{label_of(factor)} {text}"


def texts_of(factor: str, values: Sequence[Any]) -> list[str]:
    """Each value of a factor in a few characters, no two alike."""
    named = [value for value in values if isinstance(value, dict)]
    told = telling_options(named)
    texts = [_text(factor, value, told) for value in values]
    counted: dict[str, int] = defaultdict(int)
    unique = []
    for text in texts:
        counted[text] += 1
        unique.append(f"{text} ({counted[text]})" if texts.count(text) > 1 else text)
    return unique


def telling_options(values: Sequence[dict[str, Any]]) -> dict[Any, set[str]]:
    """By name, the options in which values of that name differ."""
    seen: dict[tuple[Any, str], set[bytes]] = defaultdict(set)
    for value in values:
        for option, own in value.items():
            seen[value.get("name"), option].add(orjson.dumps(own))
    told: dict[Any, set[str]] = defaultdict(set)
    for (name, option), own in seen.items():
        if len(own) > 1:
            told[name].add(option)
    return told


def text_with_options(value: dict[str, Any], told: dict[Any, set[str]]) -> str:
    """Its name with the options that tell it from others of that name."""
    options = {option: own for option, own in value.items() if option in told.get(value.get("name"), ())}
    return level_text({"name": value["name"], **options})


def _text(factor: str, value: Any, told: dict[Any, set[str]]) -> str:
    match factor, value:
        case "dataset.classes", _:
            text = "all classes" if value is None else f"{len(value)} classes"
        case "dataset.train_limit", _:
            text = "all images" if value is None else f"{value:,} images"
        case "epochs", _:
            text = f"{value} epochs"
        case "phases", list():
            text = "+".join(str(phase["epochs"]) for phase in value) + " epochs"
        case _, {"name": _}:
            text = text_with_options(value, told)
        case _, dict():
            usual = USUAL.get(factor, {})
            unusual = {option: own for option, own in value.items() if own != usual.get(option)}
            text = level_text(unusual) if unusual else "on"
        case _:
            text = level_text(value)
    return text
