"""Claiming imports, holding them by lease, and writing as the one that owns an import: as attempts.py does for jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from core.dataset_content import DatasetContent, StoredDataset
from core.errors import FencedOut
from core.repositories.claims import Holder
from core.repositories.datasets import NO_PROGRESS, stored_dataset
from core.repositories.events import append_dataset_event
from core.repositories.jobs import fail_waiting_jobs, start_waiting_jobs
from core.repositories.leases import claim_oldest, held_by_gone, renew_owned, write_owned
from core.states import DatasetState
from core.tables import DatasetRow, ModelVersionRow, utc_now

MOST_LOST_ATTEMPTS = 3
"""tries at an import that may end without a verdict before the dataset is rejected"""


@dataclass(frozen=True)
class ImportAttempt:
    """A try's identity and fencing token: what every write of it must name."""

    tenant: str
    dataset_id: str
    number: int

    @property
    def folder(self) -> str:
        """Where this try writes, in the artifact store."""
        return f"datasets/{self.dataset_id}-{self.number}"


@dataclass(frozen=True)
class ImportClaim:
    """An import just claimed."""

    attempt: ImportAttempt
    name: str
    source: dict[str, Any]
    options: dict[str, Any]
    uploads: list[dict[str, Any]]
    request_id: str | None


@dataclass(frozen=True)
class Imported:
    """What an import found and stored."""

    content: DatasetContent
    digest: str
    report: dict[str, Any]


@dataclass(frozen=True)
class Rejection:
    """Why files cannot become a dataset; `errors` are some of the `total`."""

    detail: str
    errors: list[dict[str, Any]]
    total: int


def claim_import(session: Session, holder: Holder) -> ImportClaim | None:
    """Claims the dataset that has waited longest, or None. The caller commits before it starts anything."""
    importing = DatasetRow.state == DatasetState.IMPORTING
    row = claim_oldest(session, DatasetRow, importing, holder, progress=dict(NO_PROGRESS))
    if row is None:
        return None
    attempt = ImportAttempt(row.tenant_id, row.id, row.attempt + 1)
    claimed_by = {"attempt": attempt.number, "actor": "worker", "cause": "claimed", "worker": holder.worker}
    _announce(session, attempt, {"state": DatasetState.IMPORTING, **claimed_by})
    return ImportClaim(attempt, row.name, row.source, row.options, row.uploads, row.request_id)


def renew_import(session: Session, attempt: ImportAttempt) -> dict[str, Any]:
    """Extends the lease and tells the progress. Raises FencedOut, also once the import has ended."""
    progress = renew_owned(session, DatasetRow, _owned(attempt))
    if progress is None:
        raise _fenced(attempt)
    return progress


def record_import_progress(session: Session, attempt: ImportAttempt, progress: dict[str, Any]) -> None:
    """Raises FencedOut."""
    _write(session, attempt, progress=progress)


def find_twin(session: Session, attempt: ImportAttempt, digest: str) -> StoredDataset | None:
    """A READY dataset of the same images."""
    row = session.scalars(_twins(attempt, digest).limit(1)).one_or_none()
    return None if row is None else stored_dataset(row)


def finish_import(
    session: Session, attempt: ImportAttempt, imported: Imported, damaged: str | None = None
) -> DatasetState:
    """Makes the dataset visible, in one transaction with the jobs that waited for it. Raises FencedOut.

    Images that another dataset has stored already are shared with it: then this try's folder belongs to no row. Where
    that copy, the folder `damaged`, is not sound any more, it is the other way round.
    """
    row = _lock(session, attempt)
    if _names_other_models(session, row, imported.digest):
        detail = f"models named after {row.name!r} were trained on other images; register these under another name"
        reject_import(session, attempt, Rejection(detail, [], 0))
        return DatasetState.REJECTED
    content = imported.content.model_dump(mode="json")
    # Locked, or a twin could be deleted, with its files, before this is committed.
    twins = session.scalars(_twins(attempt, imported.digest).with_for_update()).all()
    sound = next((twin for twin in twins if twin.path != damaged), None)
    row.path = attempt.folder if sound is None else sound.path
    row.content = content if sound is None else sound.content
    for twin in twins:
        twin.path, twin.content = row.path, row.content
    row.digest = imported.digest
    row.bytes = imported.content.bytes
    row.report = imported.report
    _end(session, row, attempt, DatasetState.READY, detail=None)
    start_waiting_jobs(session, attempt.tenant, row.id)
    return DatasetState.READY


def reject_import(session: Session, attempt: ImportAttempt, rejection: Rejection) -> None:
    """The files cannot be used; jobs that waited for them fail. Raises FencedOut."""
    row = _lock(session, attempt)
    row.errors = rejection.errors
    row.errors_total = rejection.total
    _end(session, row, attempt, DatasetState.REJECTED, rejection.detail)
    detail = f"dataset {row.name} was rejected: {rejection.detail}"
    fail_waiting_jobs(session, attempt.tenant, row.id, detail)


def release_import(session: Session, attempt: ImportAttempt, detail: str, *, lost: bool) -> None:
    """Gives the import to whoever claims it next. `lost`: the try died; too many of those reject the dataset.

    Harmless when the try has ended meanwhile.
    """
    row = session.scalars(select(DatasetRow).where(_owned(attempt)).with_for_update()).one_or_none()
    if row is None:
        return
    if lost and row.lost_attempts + 1 >= MOST_LOST_ATTEMPTS:
        reject_import(session, attempt, Rejection(f"{detail}; gave up after {MOST_LOST_ATTEMPTS} tries", [], 0))
        return
    row.lost_attempts += int(lost)
    row.lease_expires_at = None
    row.progress = dict(NO_PROGRESS)
    session.flush()
    _announce(
        session, attempt, {"state": DatasetState.IMPORTING, "actor": "worker", "cause": "released", "detail": detail}
    )


def lost_imports(session: Session, boot_id: str) -> Sequence[tuple[ImportAttempt, Holder, bool]]:
    """Imports whose lease has run out (True), or whose holder was on this host and may be dead (False)."""
    held = DatasetRow.state == DatasetState.IMPORTING
    return [
        (ImportAttempt(row.tenant_id, row.id, row.attempt), holder, expired)
        for row, holder, expired in held_by_gone(session, DatasetRow, held, boot_id)
    ]


def _twins(attempt: ImportAttempt, digest: str) -> Select[DatasetRow]:
    return select(DatasetRow).where(
        DatasetRow.digest == digest,
        DatasetRow.state == DatasetState.READY,
        DatasetRow.tenant_id == attempt.tenant,
    )


def _names_other_models(session: Session, row: DatasetRow, digest: str) -> bool:
    """Models of a view named after this dataset would compete with models of other images."""
    of_this_name = or_(
        ModelVersionRow.view == row.name, ModelVersionRow.view.startswith(f"{row.name}@", autoescape=True)
    )
    query = select(ModelVersionRow.id).where(
        ModelVersionRow.tenant_id == row.tenant_id, of_this_name, ModelVersionRow.dataset_digest != digest
    )
    return "builtin" not in row.source and session.scalar(query.limit(1)) is not None


def _end(session: Session, row: DatasetRow, attempt: ImportAttempt, state: DatasetState, detail: str | None) -> None:
    row.state = state
    row.detail = detail
    row.lease_expires_at = None
    row.finished_at = utc_now()
    row.progress = {**row.progress, "phase": "done", "eta_seconds": None}
    session.flush()
    _announce(session, attempt, {"state": state, "detail": detail, "actor": "worker", "cause": "imported"})


def _announce(session: Session, attempt: ImportAttempt, data: dict[str, Any]) -> None:
    append_dataset_event(session, attempt.tenant, attempt.dataset_id, "state", data)


def _write(session: Session, attempt: ImportAttempt, **values: Any) -> None:
    changed = write_owned(session, DatasetRow, _owned(attempt), revision=DatasetRow.revision + 1, **values)
    if changed is None:
        raise _fenced(attempt)


def _lock(session: Session, attempt: ImportAttempt) -> DatasetRow:
    row = session.scalars(select(DatasetRow).where(_owned(attempt)).with_for_update()).one_or_none()
    if row is None:
        raise _fenced(attempt)
    return row


def _fenced(attempt: ImportAttempt) -> FencedOut:
    return FencedOut(f"the import of dataset {attempt.dataset_id}", attempt.number)


def _owned(attempt: ImportAttempt) -> Any:
    return and_(
        DatasetRow.tenant_id == attempt.tenant,
        DatasetRow.id == attempt.dataset_id,
        DatasetRow.attempt == attempt.number,
        DatasetRow.state == DatasetState.IMPORTING,
        DatasetRow.lease_expires_at.is_not(None),
    )
