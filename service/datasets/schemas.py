"""What datasets look like on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from core.dataset_content import DatasetContent
from core.schema import Schema
from core.states import DatasetState
from core.tables import DatasetRow

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class BuiltinRequest(Schema):
    """Registers a built-in set."""

    builtin: Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "cifar100_coarse"]


class UploadForm(Schema):
    """The fields of a multipart upload, beside its `file` parts."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    """lower-case letters, digits, - and _"""
    on_corrupt: Literal["reject", "skip"] = "reject"
    """what an image that cannot be decoded means: the whole upload is rejected, or it is left out and counted"""
    labels: Literal["fine", "coarse"] = "fine"
    """of a CIFAR-100 archive"""


class ImportProgressView(BaseModel):
    phase: str = Field(description="waiting, checking, importing, comparing or done")
    files_done: int
    files_total: int | None
    bytes_done: int
    bytes_total: int | None
    eta_seconds: float | None


class ClassView(BaseModel):
    label: str
    train: int
    validation: int | None = Field(description="null where the set has no such split")
    test: int | None


class SplitCountsView(BaseModel):
    train: int
    validation: int | None
    test: int | None


class ImageSizesView(BaseModel):
    uniform: bool
    smallest: tuple[int, int] = Field(description="height, width")
    largest: tuple[int, int]
    distinct: int


class ChannelStatisticsView(BaseModel):
    mean: list[float] = Field(description="of each channel over the training images, 0-255")
    std: list[float]


class FileErrorView(BaseModel):
    file: str
    code: str
    detail: str


class DatasetView(BaseModel):
    name: str
    state: DatasetState
    detail: str | None
    source: dict[str, Any] = Field(description='{"builtin"}, or {"files", "bytes", "sha256"} of an upload')
    progress: ImportProgressView
    classes: list[ClassView]
    images: SplitCountsView | None
    image_sizes: ImageSizesView | None
    channels: int | None
    channel_statistics: ChannelStatisticsView | None
    digest: str | None = Field(description="sha256 over labels and pixels: equal images, equal digest")
    bytes: int | None = Field(description="stored")
    report: dict[str, Any] | None = Field(description="what the data gate found")
    errors: list[FileErrorView] = Field(description="up to 100 of errors_total")
    errors_total: int
    created_at: datetime
    finished_at: datetime | None
    etag: str

    @property
    def ended(self) -> bool:
        return self.state.terminal


class DatasetPage(BaseModel):
    items: list[DatasetView]
    next_page_token: str | None


DatasetOrder = Literal["created_at", "-created_at"]


def view_dataset(row: DatasetRow) -> DatasetView:
    content = DatasetContent.model_validate(row.content) if row.content is not None else None
    return DatasetView(
        name=row.name,
        state=DatasetState(row.state),
        detail=row.detail,
        source=row.source,
        progress=ImportProgressView(**row.progress),
        classes=[] if content is None else _classes(content),
        images=None if content is None else _counts(content),
        image_sizes=None
        if content is None
        else ImageSizesView(uniform=content.sizes.uniform, **content.sizes.model_dump()),
        channels=None if content is None else content.channels,
        channel_statistics=None
        if content is None
        else ChannelStatisticsView(mean=list(content.mean), std=list(content.std)),
        digest=row.digest,
        bytes=row.bytes,
        report=row.report,
        errors=[FileErrorView(**error) for error in row.errors],
        errors_total=row.errors_total,
        created_at=row.created_at,
        finished_at=row.finished_at,
        etag=f'"{row.id[-8:]}.{row.revision}"',
    )


def _classes(content: DatasetContent) -> list[ClassView]:
    info = content.info("")
    return [
        ClassView(
            label=label,
            train=info.train_counts[number],
            validation=None if info.validation_counts is None else info.validation_counts[number],
            test=None if info.test_counts is None else info.test_counts[number],
        )
        for number, label in enumerate(content.labels)
    ]


def _counts(content: DatasetContent) -> SplitCountsView:
    counts = {split: stored.images for split, stored in content.splits.items()}
    return SplitCountsView(train=counts["train"], validation=counts.get("validation"), test=counts.get("test"))
