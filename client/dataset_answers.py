"""What the server answers about datasets, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from client.answers import Answer, maybe, moment

DatasetState = Literal["IMPORTING", "READY", "REJECTED"]
DATASET_END_STATES = frozenset({"READY", "REJECTED"})


@dataclass(frozen=True)
class ImportProgress(Answer):
    """`phase` is waiting, checking, importing, comparing or done; a total is None until it is known."""

    phase: str
    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True)
class ImageCounts(Answer):
    """Images in each split; None where the dataset comes without it."""

    train: int
    validation: int | None = None
    test: int | None = None

    @property
    def total(self) -> int:
        return self.train + (self.validation or 0) + (self.test or 0)


@dataclass(frozen=True, kw_only=True)
class ClassCounts(ImageCounts):
    """One class of the dataset and its images in each split."""

    label: str


@dataclass(frozen=True)
class ImageSizes(Answer):
    """Sizes are (height, width) in pixels; `distinct` counts the different ones."""

    uniform: bool
    smallest: tuple[int, int]
    largest: tuple[int, int]
    distinct: int

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse({**data, "smallest": tuple(data["smallest"]), "largest": tuple(data["largest"])})


@dataclass(frozen=True)
class FileFault(Answer):
    """One thing wrong with one file of an upload: its path in there, a stable code, and what it is."""

    file: str
    code: str
    detail: str


@dataclass(frozen=True)
class DatasetWarning(Answer):
    """What is doubtful about a dataset that was imported all the same; it also stands on jobs that use it."""

    code: str
    detail: str


@dataclass(frozen=True)
class ImportReport(Answer):
    """What the import found. `skipped_files` names up to 100 of the `skipped`."""

    on_corrupt: str
    skipped: int
    skipped_files: tuple[FileFault, ...]
    warnings: tuple[DatasetWarning, ...]
    duplicates: Mapping[str, Any] | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "skipped_files": tuple(FileFault.parse(entry) for entry in data["skipped_files"]),
                "warnings": tuple(DatasetWarning.parse(entry) for entry in data["warnings"]),
            }
        )


@dataclass(frozen=True)
class Dataset(Answer):
    """A dataset. What is only known once it is READY is None, or empty, before.

    `channel_statistics` has mean and std of the training images' channels on the scale 0-255; `bytes` is what is
    stored; `errors` names up to 100 of the `errors_total`.
    """

    name: str
    state: DatasetState
    detail: str | None
    source: Mapping[str, Any]
    progress: ImportProgress
    classes: tuple[ClassCounts, ...]
    images: ImageCounts | None
    image_sizes: ImageSizes | None
    channels: int | None
    channel_statistics: Mapping[str, list[float]] | None
    digest: str | None
    bytes: int | None
    report: ImportReport | None
    errors: tuple[FileFault, ...]
    errors_total: int
    created_at: datetime
    finished_at: datetime | None
    etag: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "progress": ImportProgress.parse(data["progress"]),
                "classes": tuple(ClassCounts.parse(entry) for entry in data["classes"]),
                "images": maybe(ImageCounts, data["images"]),
                "image_sizes": maybe(ImageSizes, data["image_sizes"]),
                "report": maybe(ImportReport, data["report"]),
                "errors": tuple(FileFault.parse(entry) for entry in data["errors"]),
                "created_at": moment(data["created_at"]),
                "finished_at": moment(data["finished_at"]),
            }
        )

    @property
    def ended(self) -> bool:
        return self.state in DATASET_END_STATES

    @property
    def warnings(self) -> tuple[DatasetWarning, ...]:
        return self.report.warnings if self.report is not None else ()
