"""What models look like on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from core.repositories.models import ServableVersion, ServedModel
from core.schema import Schema
from core.tables import BestRow

LAST_VERSION = 2**31 - 1


class VersionView(BaseModel):
    """A published version. `metrics` are of the published epoch; `parity` is what the check against Keras measured."""

    name: str
    version: int
    job: str
    architecture: str
    view: str
    dataset_digest: str
    labels: list[str]
    input_shape: dict[str, int | None]
    metrics: dict[str, Any]
    objective: dict[str, Any]
    parity: dict[str, Any]
    sha256: str
    bytes: int
    created_at: datetime


class ServedVersionView(VersionView):
    """The version that predictions use, and what it was chosen from."""

    pinned: bool
    versions: int = Field(description="how many there are")


class ModelList(BaseModel):
    items: list[ServedVersionView]


class ModelView(BaseModel):
    name: str
    best: int = Field(description="the version that predictions use")
    pinned: bool = Field(description="whether a client chose it; then no better version replaces it")
    margin: float = Field(
        description="by how much a new version must beat the served one, in units of its job's objective"
    )
    versions: list[VersionView] = Field(description="newest first")
    updated_at: datetime = Field(description="when best, pinned, margin or versions last changed")
    etag: str

    @property
    def ended(self) -> bool:
        return False


class PromoteRequest(Schema):
    version: Annotated[int, Field(ge=1, le=LAST_VERSION)]
    """that predictions shall use"""


class GateRequest(Schema):
    margin: Annotated[float, Field(ge=0, le=1e6)]
    """by how much a new version must beat the served one, in units of its job's objective; 0: by any, and ties by rule"""


class NoFields(Schema):
    """A body that may be left out, and says nothing."""


def etag_of(best: BestRow) -> str:
    """Changes whenever the model's view does: each publication counts as a change of its best row."""
    return f'"{best.revision}"'


def view_version(servable: ServableVersion) -> VersionView:
    return VersionView(**version_fields(servable))


def view_served(model: ServedModel) -> ServedVersionView:
    return ServedVersionView(**version_fields(model.servable), pinned=model.best.pinned, versions=model.versions)


def view_model(best: BestRow, versions: list[VersionView]) -> ModelView:
    return ModelView(
        name=best.name,
        best=best.version,
        pinned=best.pinned,
        margin=best.margin,
        versions=versions,
        updated_at=best.updated_at,
        etag=etag_of(best),
    )


def version_fields(servable: ServableVersion) -> dict[str, Any]:
    row, artifact = servable.row, servable.artifact
    return {
        "name": row.name,
        "version": row.version,
        "job": row.job_id,
        "architecture": row.architecture,
        "view": row.view,
        "dataset_digest": row.dataset_digest,
        "labels": row.labels,
        "input_shape": row.input_shape,
        "metrics": row.metrics,
        "objective": row.objective,
        "parity": row.parity,
        "sha256": artifact.sha256,
        "bytes": artifact.bytes,
        "created_at": row.created_at,
    }
