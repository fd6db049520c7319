"""Names that clients gave to views. A name, once given, always means the same labels and split of the same dataset."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.datasets import BUILTIN_DATASETS
from core.errors import DatasetExists
from core.repositories.datasets import find_dataset
from core.tables import ModelVersionRow, ViewRow, utc_now


def view_conflict(session: Session, tenant: str, name: str, identity: str) -> str | None:
    """Why `name` cannot stand for the view `identity` ("<dataset>" or "<dataset>@<hash>"); None when it can."""
    dataset = find_dataset(session, tenant, identity.partition("@")[0])
    if dataset is not None and dataset.digest is not None and _has_other_models(session, tenant, name, dataset.digest):
        return f"models of the view {name!r} were trained on other images"
    if name == identity:
        return None
    row = session.get(ViewRow, (tenant, name))
    if row is not None:
        return None if row.identity == identity else f"{name!r} already names another view, {row.identity}"
    if name in BUILTIN_DATASETS or find_dataset(session, tenant, name) is not None:
        return f"{name!r} is the name of a dataset"
    return None


def claim_view_name(session: Session, tenant: str, name: str, identity: str) -> None:
    """Binds the name, for good. Raises DatasetExists when it means something else."""
    trouble = view_conflict(session, tenant, name, identity)
    if trouble is not None:
        raise DatasetExists(trouble)
    if name == identity or session.get(ViewRow, (tenant, name)) is not None:
        return
    session.add(ViewRow(tenant_id=tenant, name=name, identity=identity, created_at=utc_now()))
    try:
        session.flush()
    except IntegrityError:
        raise DatasetExists(f"another job has just taken the name {name!r}") from None


def _has_other_models(session: Session, tenant: str, view: str, digest: str) -> bool:
    query = select(ModelVersionRow.id).where(
        ModelVersionRow.tenant_id == tenant, ModelVersionRow.view == view, ModelVersionRow.dataset_digest != digest
    )
    return session.scalar(query.limit(1)) is not None
