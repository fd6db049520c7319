"""Datasets as their clients see them: register, read, list, delete, and what job specs are checked against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uuid_utils
from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.dataset_content import DatasetContent, StoredDataset
from core.datasets import BUILTIN_DATASETS
from core.errors import DatasetExists, DatasetInUse, DatasetNotFound, DatasetNotReady
from core.repositories.events import append_dataset_event
from core.repositories.pages import Position, beyond
from core.states import ENDED, DatasetState
from core.tables import DatasetRow, JobRow, ViewRow, utc_now

NO_PROGRESS: dict[str, Any] = {
    "phase": "waiting",
    "files_done": 0,
    "files_total": None,
    "bytes_done": 0,
    "bytes_total": None,
    "eta_seconds": None,
}


@dataclass(frozen=True)
class Registration:
    """What a new dataset starts from: {"builtin"}, or {"files", "bytes", "sha256"} and where they were put."""

    name: str
    source: dict[str, Any]
    options: dict[str, Any]
    uploads: list[dict[str, Any]]
    id: str = ""
    """chosen by whoever stored the uploads below it"""


def register_dataset(session: Session, tenant: str, wanted: Registration, request_id: str | None) -> DatasetRow:
    """A new dataset in state IMPORTING. It takes the place of a REJECTED one of the same name.

    Raises DatasetExists when the name belongs to another dataset, or to a view.
    """
    _free_the_name(session, tenant, wanted.name)
    row = DatasetRow(
        id=wanted.id or uuid_utils.uuid7().hex,
        tenant_id=tenant,
        name=wanted.name,
        state=DatasetState.IMPORTING,
        source=wanted.source,
        options=wanted.options,
        uploads=wanted.uploads,
        request_id=request_id,
        revision=1,
        last_event=0,
        attempt=0,
        lost_attempts=0,
        progress=dict(NO_PROGRESS),
        errors=[],
        errors_total=0,
        created_at=utc_now(),
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError:
        raise DatasetExists(f"another upload has just taken the name {wanted.name!r}") from None
    state = {"state": DatasetState.IMPORTING, "actor": "client", "cause": "registered"}
    append_dataset_event(session, tenant, row.id, "state", state)
    session.refresh(row)
    return row


def need_dataset(session: Session, tenant: str, name: str, request_id: str | None) -> DatasetRow:
    """The dataset that a job is about to use, locked against deletion; a built-in set is registered at its first use.

    Raises DatasetNotFound.
    """
    # On SQLite the writer is alone anyway.
    row = session.scalars(_named(tenant, name).with_for_update(read=True, key_share=True)).one_or_none()
    if row is not None and not (row.state == DatasetState.REJECTED and "builtin" in row.source):
        return row
    if name not in BUILTIN_DATASETS:
        raise DatasetNotFound(name)
    try:
        with session.begin_nested():
            return register_dataset(session, tenant, Registration(name, {"builtin": name}, {}, []), request_id)
    except DatasetExists:
        # Another first use was a moment faster, or a view has taken the name.
        row = session.scalars(_named(tenant, name).with_for_update(read=True, key_share=True)).one_or_none()
        if row is None:
            raise
        return row


def get_dataset(session: Session, tenant: str, name: str) -> DatasetRow:
    """Raises DatasetNotFound."""
    row = find_dataset(session, tenant, name)
    if row is None:
        raise DatasetNotFound(name)
    return row


def find_dataset(session: Session, tenant: str, name: str) -> DatasetRow | None:
    return session.scalars(_named(tenant, name)).one_or_none()


def get_stored(session: Session, tenant: str, name: str) -> StoredDataset:
    """A READY dataset with its files. Raises DatasetNotFound, DatasetNotReady."""
    row = get_dataset(session, tenant, name)
    if row.state != DatasetState.READY:
        raise DatasetNotReady(f"dataset {name!r} is {row.state}")
    return stored_dataset(row)


def stored_dataset(row: DatasetRow) -> StoredDataset:
    """Of a READY row."""
    return StoredDataset(row.id, row.name, row.digest or "", row.path or "", DatasetContent.model_validate(row.content))


def list_datasets(
    session: Session,
    tenant: str,
    state: DatasetState | None,
    *,
    limit: int,
    after: Position | None,
    descending: bool,
) -> Sequence[DatasetRow]:
    """Up to `limit` datasets by (created_at, id), from the position on."""
    query = select(DatasetRow).where(DatasetRow.tenant_id == tenant)
    if state is not None:
        query = query.where(DatasetRow.state == state)
    keys = (DatasetRow.created_at, DatasetRow.id)
    if after is not None:
        query = query.where(beyond(*keys, after, descending=descending))
    return session.scalars(query.order_by(*(key.desc() if descending else key for key in keys)).limit(limit)).all()


def delete_dataset(session: Session, tenant: str, name: str) -> list[str]:
    """Deletes the row. Returns the folders that nothing uses any more, for the caller to remove after the commit.

    Raises DatasetNotFound, and DatasetInUse while a job that has not ended needs it.
    """
    row = session.scalars(_named(tenant, name).with_for_update()).one_or_none()
    if row is None:
        raise DatasetNotFound(name)
    needing = session.scalar(
        select(func.count())
        .select_from(JobRow)
        .where(JobRow.tenant_id == tenant, JobRow.dataset_id == row.id, JobRow.state.not_in(ENDED))
    )
    if needing:
        raise DatasetInUse(f"dataset {name!r} is needed by {needing} job(s) that have not ended")
    session.execute(update(JobRow).where(JobRow.dataset_id == row.id).values(dataset_id=None))
    path, uploads = row.path, f"uploads/{row.id}"
    session.delete(row)
    session.flush()
    return [uploads] if path is None or path_in_use(session, path) else [uploads, path]


def forget_rejected(session: Session, tenant: str, dataset_id: str) -> None:
    """Deletes a dataset that was refused before anybody could use it. Harmless when it is gone or not REJECTED."""
    session.execute(
        delete(DatasetRow).where(
            DatasetRow.tenant_id == tenant, DatasetRow.id == dataset_id, DatasetRow.state == DatasetState.REJECTED
        )
    )


def path_in_use(session: Session, path: str) -> bool:
    return session.scalar(select(DatasetRow.id).where(DatasetRow.path == path).limit(1)) is not None


def is_importing(session: Session, dataset_id: str) -> bool:
    row = session.get(DatasetRow, dataset_id)
    return row is not None and row.state == DatasetState.IMPORTING


def _free_the_name(session: Session, tenant: str, name: str) -> None:
    earlier = session.scalars(_named(tenant, name).with_for_update()).one_or_none()
    if earlier is not None:
        if earlier.state != DatasetState.REJECTED:
            raise DatasetExists(f"there is already a dataset {name!r}; choose another name or delete it first")
        session.execute(update(JobRow).where(JobRow.dataset_id == earlier.id).values(dataset_id=None))
        session.delete(earlier)
        session.flush()
    if session.get(ViewRow, (tenant, name)) is not None:
        raise DatasetExists(f"{name!r} already names a view of another dataset; choose another name")


def _named(tenant: str, name: str) -> Select[DatasetRow]:
    return select(DatasetRow).where(DatasetRow.tenant_id == tenant, DatasetRow.name == name)


def referenced(session: Session, folders: Sequence[str]) -> set[str]:
    """Which of the names in the store's `datasets` and `uploads` folders belong to a row that still needs them."""
    rows = session.scalars(
        select(DatasetRow).where(or_(DatasetRow.path.is_not(None), DatasetRow.state == DatasetState.IMPORTING))
    )
    needed: set[str] = set()
    for row in rows:
        needed.add((row.path or "").rsplit("/", 1)[-1])
        if row.state == DatasetState.IMPORTING:
            needed |= {row.id, f"{row.id}-{row.attempt}"}
    return needed & set(folders)
