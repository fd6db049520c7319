"""What exports look like on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from core.tables import TaskRow
from service.task_views import TaskView, common_fields

FormatName = Literal["onnx", "keras", "saved_model", "tflite", "litert"]
"""litert is what the format tflite is called today"""

MADE_FORMATS = {"keras": "keras", "saved_model": "saved_model", "tflite": "tflite", "litert": "tflite"}
"""those that a worker makes, by each of their names; ONNX is what is published"""

ENDINGS = {"onnx": "onnx", "keras": "keras", "saved_model": "saved_model.zip", "tflite": "tflite"}
"""of the files' names"""


class ExportResult(BaseModel):
    """What was made, and how far its logits are from those of Keras on the images that both were given."""

    format: str
    bytes: int
    sha256: str
    max_difference: float
    tolerance: float
    images: int
    compared_on: str = Field(description="test images of the dataset, or random pixels where that is gone")
    seconds: float


class ExportView(TaskView):
    """A model version on its way into a format; `artifact` is where it can be had."""

    model: str
    version: int
    format: str
    result: ExportResult | None
    artifact: str


def view_export(row: TaskRow) -> ExportView:
    spec: dict[str, Any] = row.spec
    return ExportView(
        **common_fields(row),
        **{key: spec[key] for key in ("model", "version", "format")},
        result=row.result,
        artifact=f"/api/v1/models/{spec['model']}/versions/{spec['version']}/artifact?format={spec['format']}",
    )
