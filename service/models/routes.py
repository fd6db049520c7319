"""/api/v1/models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel

from core.repositories.models import ServableVersion, find_best, get_version, list_best, list_versions
from service.context import ContextDep, TenantDep

router = APIRouter(prefix="/api/v1/models", tags=["models"])

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


class ModelList(BaseModel):
    items: list[VersionView]


class ModelView(BaseModel):
    name: str
    best: int
    pinned: bool
    versions: list[VersionView]


@router.get("")
def get_models(context: ContextDep, tenant: TenantDep) -> ModelList:
    """The version that predictions use, for each model."""
    with context.database.snapshot() as session:
        return ModelList(items=[_view(version) for version in list_best(session, tenant)])


@router.get("/{name}")
def get_model(name: str, context: ContextDep, tenant: TenantDep) -> ModelView:
    """A model: which version is best, and all versions, newest first."""
    with context.database.snapshot() as session:
        versions = list_versions(session, tenant, name)
        best = find_best(session, tenant, name)
        newest = versions[0].row.version
        return ModelView(
            name=name,
            best=best.version if best else newest,
            pinned=best is not None and best.pinned,
            versions=[_view(version) for version in versions],
        )


@router.get("/{name}/versions/{version}")
def get_model_version(
    name: str, version: Annotated[int, Path(ge=1, le=LAST_VERSION)], context: ContextDep, tenant: TenantDep
) -> VersionView:
    """One version."""
    with context.database.snapshot() as session:
        return _view(get_version(session, tenant, name, version))


def _view(servable: ServableVersion) -> VersionView:
    row, artifact = servable.row, servable.artifact
    return VersionView(
        name=row.name,
        version=row.version,
        job=row.job_id,
        architecture=row.architecture,
        view=row.view,
        dataset_digest=row.dataset_digest,
        labels=row.labels,
        input_shape=row.input_shape,
        metrics=row.metrics,
        objective=row.objective,
        parity=row.parity,
        sha256=artifact.sha256,
        bytes=artifact.bytes,
        created_at=row.created_at,
    )
