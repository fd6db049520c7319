"""Jobs whose published weights other jobs may start with."""

from __future__ import annotations

from pydantic import ValidationError
from sqlalchemy import Select, and_, select
from sqlalchemy.orm import Session

from core.donors import Donor, DonorLookup, Wanted
from core.errors import Fault
from core.jobspec import JobSpec
from core.recipes.transfer import JobWeights
from core.tables import ArtifactRow, BestRow, JobRow, ModelVersionRow

WEIGHTS = "weights"
"""the kind of artifact"""


def donor_lookup(session: Session, tenant: str) -> DonorLookup:
    """What job specs are checked against: the tenant's models, and the jobs that made them."""

    def lookup(wanted: Wanted) -> Donor | Fault:
        if isinstance(wanted, JobWeights):
            return _of_job(session, tenant, wanted.job)
        return _of_model(session, tenant, wanted.model, wanted.version)

    return lookup


def find_donor(session: Session, tenant: str, wanted: Wanted) -> Donor | None:
    """Who lends what a checked spec asks for; None once that is gone."""
    found = donor_lookup(session, tenant)(wanted)
    return found if isinstance(found, Donor) else None


def has_weights(session: Session, tenant: str, job_id: str) -> bool:
    """Whether the job has published its weights; those of long ago have not."""
    query = select(ArtifactRow.id).where(
        ArtifactRow.tenant_id == tenant, ArtifactRow.job_id == job_id, ArtifactRow.kind == WEIGHTS
    )
    return session.scalar(query.limit(1)) is not None


def _of_job(session: Session, tenant: str, job_id: str) -> Donor | Fault:
    job = session.scalars(select(JobRow).where(JobRow.tenant_id == tenant, JobRow.id == job_id)).one_or_none()
    if job is None:
        return Fault("", f"there is no job {job_id!r}", "unknown_weights")
    found = session.execute(_published(tenant).where(ModelVersionRow.job_id == job_id)).one_or_none()
    if found is None:
        return Fault("", f"job {job_id} has published no weights; it is {job.state}", "no_weights")
    return _donor(*found)


def _of_model(session: Session, tenant: str, name: str, version: int | None) -> Donor | Fault:
    query = _published(tenant).where(ModelVersionRow.name == name)
    if version is None:
        served = and_(BestRow.tenant_id == tenant, BestRow.name == name, BestRow.version == ModelVersionRow.version)
        query = query.join(BestRow, served)
    else:
        query = query.where(ModelVersionRow.version == version)
    found = session.execute(query).one_or_none()
    if found is None:
        which = f"model {name!r}" if version is None else f"version {version} of model {name!r}"
        return Fault("", f"there is no {which} with weights to lend", "unknown_weights")
    return _donor(*found)


def _published(tenant: str) -> Select[ModelVersionRow, JobRow, ArtifactRow]:
    return (
        select(ModelVersionRow, JobRow, ArtifactRow)
        .join(JobRow, JobRow.id == ModelVersionRow.job_id)
        .join(ArtifactRow, and_(ArtifactRow.job_id == JobRow.id, ArtifactRow.kind == WEIGHTS))
        .where(ModelVersionRow.tenant_id == tenant)
    )


def _donor(version: ModelVersionRow, job: JobRow, weights: ArtifactRow) -> Donor | Fault:
    try:
        JobSpec.model_validate(job.spec)
    except ValidationError:
        return Fault("", f"this version of the service cannot read the spec of job {job.id}", "no_weights")
    sides = version.input_shape
    return Donor(
        job_id=job.id,
        spec=job.spec,
        classes=len(version.labels),
        input_shape=(sides["height"], sides["width"], sides["channels"]),
        path=weights.path,
        sha256=weights.sha256,
        version=version.version,
    )
