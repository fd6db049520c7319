"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.studies.answers import Winners
from service.studies.pictures.material import Material


@dataclass(frozen=True)
class DataView:
    """What some of the study's variants saw of a dataset."""

    view: str
    dataset: str
    digest: str
    labels: tuple[str, ...]
    images: Mapping[str, int]
    """how many, by split: train, validation, test"""
    variants: tuple[int, ...]
    """numbers of those that saw it"""


@dataclass(frozen=True)
class EnvironmentUse:
    """What runs were trained with."""

    environment: Mapping[str, Any]
    """as an attempt records it: versions, processor, devices, threads, code_revision, …"""
    runs: int


@dataclass(frozen=True)
class JobRecord:
    """What a report tells of a job beside its figures."""

    spec_hash: str
    detail: str | None = None
    """why it ended as it did"""


@dataclass(frozen=True)
class ReportInput:
    """A study with everything that its report tells."""

    id: str
    name: str
    question: str | None
    state: str
    detail: str | None
    """why it is in that state"""
    spec: Mapping[str, Any]
    """the normalised study spec: base, space or variants, seeds, budget, …"""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    written_at: datetime
    """when the report was"""
    material: Material
    """figures, results, effects, curves and the confusion matrix"""
    winners: Winners | None
    data: tuple[DataView, ...]
    environments: tuple[EnvironmentUse, ...]
    jobs: Mapping[str, JobRecord]
    """by job id"""
    warnings: tuple[Mapping[str, Any], ...] = ()
    """of the study itself: {"code", "detail", …}; those of its jobs are among the figures"""
