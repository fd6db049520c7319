"""What the server answers about models, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from client.answers import Answer, ModelVersion, moment


@dataclass(frozen=True)
class ModelSummary(ModelVersion):
    """The version of a model that predictions use, and what it was chosen from."""

    pinned: bool
    versions: int
    objective: Mapping[str, str]


@dataclass(frozen=True)
class VersionDetail(ModelVersion):
    """A version with its card: spec, data, confusion matrix, lineage, sizes, latency, as the server sends it."""

    card: Mapping[str, Any]


@dataclass(frozen=True)
class Model(Answer):
    """A model with all its versions, newest first. `best` serves; `pinned` says whether a client chose it."""

    name: str
    best: int
    pinned: bool
    margin: float
    versions: tuple[ModelVersion, ...]
    updated_at: datetime
    etag: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "versions": tuple(ModelVersion.parse(entry) for entry in data["versions"]),
                "updated_at": moment(data["updated_at"]),
            }
        )
