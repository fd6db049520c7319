"""Published models: versions, and which of them predictions use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session, defer

from core.errors import ModelNotFound
from core.tables import ArtifactRow, BestRow, EvaluationRow, ModelVersionRow

WITHOUT_CARDS = defer(ModelVersionRow.card, raiseload=True)
"""They are the largest part of a row, and services read the best versions twice a second."""


@dataclass(frozen=True)
class ServableVersion:
    """A version with the bytes it is loaded from."""

    row: ModelVersionRow
    artifact: ArtifactRow


def list_best(session: Session, tenant: str) -> Sequence[ServableVersion]:
    """The version that predictions use, for each model."""
    rows = session.execute(_best_by_name(tenant))
    return [ServableVersion(version, artifact) for version, artifact in rows]


@dataclass(frozen=True)
class ServedModel:
    """A model: the version that predictions use, the rules it was chosen by, and how many there are to choose from."""

    servable: ServableVersion
    best: BestRow
    versions: int


def list_models(session: Session, tenant: str) -> Sequence[ServedModel]:
    """All models, by name."""
    counts = (
        select(ModelVersionRow.name, func.count().label("versions"))
        .where(ModelVersionRow.tenant_id == tenant)
        .group_by(ModelVersionRow.name)
        .subquery()
    )
    rows = session.execute(
        _best_versions(tenant)
        .join(counts, counts.c.name == ModelVersionRow.name)
        .add_columns(BestRow, counts.c.versions)
        .order_by(ModelVersionRow.name)
    )
    return [ServedModel(ServableVersion(version, artifact), best, count) for version, artifact, best, count in rows]


def list_versions(session: Session, tenant: str, name: str) -> Sequence[ServableVersion]:
    """All versions of a model, newest first. Raises ModelNotFound when there is none."""
    rows = session.execute(
        _versions(tenant)
        .where(ModelVersionRow.name == name)
        .order_by(ModelVersionRow.version.desc())
        .options(WITHOUT_CARDS)
    )
    found = [ServableVersion(version, artifact) for version, artifact in rows]
    if not found:
        raise ModelNotFound(f"there is no model {name!r}")
    return found


def published_versions(session: Session, tenant: str, name: str | None = None) -> Sequence[tuple[str, int]]:
    """Name and number of every version, or of one model's, in that order."""
    query = select(ModelVersionRow.name, ModelVersionRow.version).where(ModelVersionRow.tenant_id == tenant)
    if name is not None:
        query = query.where(ModelVersionRow.name == name)
    rows = session.execute(query.order_by(ModelVersionRow.name, ModelVersionRow.version))
    return [(found, version) for found, version in rows]


def get_version(session: Session, tenant: str, name: str, version: int) -> ServableVersion:
    """With its card. Raises ModelNotFound."""
    found = session.execute(
        _versions(tenant).where(ModelVersionRow.name == name, ModelVersionRow.version == version)
    ).one_or_none()
    if found is None:
        raise ModelNotFound(f"model {name!r} has no version {version}")
    return ServableVersion(*found)


def get_best(session: Session, tenant: str, name: str) -> BestRow:
    """Which version of a model serves. Raises ModelNotFound."""
    row = session.get(BestRow, (tenant, name))
    if row is None:
        raise ModelNotFound(f"there is no model {name!r}")
    return row


def get_evaluation(session: Session, tenant: str, job_id: str) -> EvaluationRow | None:
    return session.scalars(
        select(EvaluationRow).where(EvaluationRow.tenant_id == tenant, EvaluationRow.job_id == job_id)
    ).one_or_none()


@cache
def _best_by_name(tenant: str) -> Select[ModelVersionRow, ArtifactRow]:
    """Built once: services ask twice a second, and building it takes a third of asking."""
    return _best_versions(tenant).order_by(ModelVersionRow.name)


def _best_versions(tenant: str) -> Select[ModelVersionRow, ArtifactRow]:
    chosen = and_(
        BestRow.tenant_id == ModelVersionRow.tenant_id,
        BestRow.name == ModelVersionRow.name,
        BestRow.version == ModelVersionRow.version,
    )
    return _versions(tenant).join(BestRow, chosen).options(WITHOUT_CARDS)


def _versions(tenant: str) -> Select[ModelVersionRow, ArtifactRow]:
    return (
        select(ModelVersionRow, ArtifactRow)
        .join(ArtifactRow, ArtifactRow.id == ModelVersionRow.artifact_id)
        .where(ModelVersionRow.tenant_id == tenant)
    )
