"""What batch predictions look like on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from core.dataset_content import Split
from core.schema import Schema
from core.tables import TaskRow
from service.task_views import TaskView, common_fields

Format = Literal["csv", "jsonl", "parquet"]

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}

BatchOrder = Literal["created_at", "-created_at"]


class BatchOptions(Schema):
    """What an upload and a stored dataset are asked for alike."""

    model: Annotated[str, Field(min_length=1, max_length=255)]
    """such as digits.lenet"""
    version: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """by default the one that is best now"""
    format: Format = "csv"
    """of the results"""
    top: Annotated[int, Field(ge=1, le=1000)] = 5
    """how many labels are told for each image"""


class BatchForm(BatchOptions):
    """The fields of a multipart upload, beside its one `file`."""

    @field_validator("version", "top", mode="before")
    @classmethod
    def _as_number(cls, value: object) -> object:
        """A form's fields are texts."""
        digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 11
        return int(value) if digits else value  # type: ignore[call-overload]


class BatchRequest(BatchOptions):
    """Predictions for a stored dataset."""

    dataset: Annotated[str, Field(min_length=1, max_length=64)]
    split: Split | None = None
    """by default all; of a set that has no such split of its own, what the model's job held out of it"""


class BatchDataset(BaseModel):
    name: str
    digest: str
    split: Split | None


class BatchResult(BaseModel):
    """Figures of a finished batch prediction. `accuracy` is over the `labelled` images, whose true label the model knows."""

    images: int
    failed: int = Field(description="images that could not be read; their rows have an error")
    labelled: int
    accuracy: float | None
    seconds: float
    bytes: int = Field(description="of the results' file")
    sha256: str


class BatchView(TaskView):
    """A batch prediction. The version was chosen when it was created."""

    model: str
    version: int
    dataset: BatchDataset | None
    file: str | None = Field(description="name of the uploaded archive")
    format: Format
    top: int
    result: BatchResult | None


class BatchPage(BaseModel):
    items: list[BatchView]
    next_page_token: str | None


def view_batch(row: TaskRow) -> BatchView:
    spec: dict[str, Any] = row.spec
    result = None
    if row.result is not None:
        stored = row.result["files"]["results"]
        result = BatchResult(**row.result, bytes=stored["bytes"], sha256=stored["sha256"])
    shown = ("model", "version", "dataset", "file", "format", "top")
    return BatchView(**common_fields(row), **{key: spec[key] for key in shown}, result=result)
