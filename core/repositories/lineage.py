"""Where a published version comes from: its job, the attempt that published it, and whose weights that started with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.repositories.donors import WEIGHTS
from core.repositories.models import ServableVersion, get_evaluation
from core.tables import ArtifactRow, AttemptRow, EvaluationRow, JobRow, ModelVersionRow


@dataclass(frozen=True)
class Lineage:
    job: JobRow
    attempt: AttemptRow
    evaluation: EvaluationRow
    weights: ArtifactRow
    lender: ModelVersionRow | None
    """the version whose weights training started with; None where they were not another job's"""


def get_lineage(session: Session, tenant: str, servable: ServableVersion) -> Lineage:
    """Of a version that is there: whatever it comes from is kept as long as it is."""
    job_id = servable.row.job_id
    job = session.scalars(select(JobRow).where(JobRow.tenant_id == tenant, JobRow.id == job_id)).one()
    published_by = (AttemptRow.job_id == job_id, AttemptRow.number == servable.artifact.attempt)
    attempt = session.scalars(select(AttemptRow).where(AttemptRow.tenant_id == tenant, *published_by)).one()
    of_job = (ArtifactRow.tenant_id == tenant, ArtifactRow.job_id == job_id, ArtifactRow.kind == WEIGHTS)
    weights = session.scalars(select(ArtifactRow).where(*of_job)).one()
    evaluation = get_evaluation(session, tenant, job_id)
    if evaluation is None:
        raise LookupError(f"job {job_id} has a model and no evaluation")
    return Lineage(job, attempt, evaluation, weights, _lender(session, tenant, job.spec))


def _lender(session: Session, tenant: str, spec: dict[str, Any]) -> ModelVersionRow | None:
    wanted = spec["architecture"].get("weights")
    if not isinstance(wanted, dict):
        return None
    row = ModelVersionRow
    if "job" in wanted:
        named = row.job_id == wanted["job"]
    else:
        named = (row.name == wanted["model"]) & (row.version == wanted["version"])
    return session.scalars(select(row).where(row.tenant_id == tenant, named)).one_or_none()
