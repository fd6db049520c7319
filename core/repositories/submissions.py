"""What a new job needs of the database: what its spec is checked against, its dataset, its view's name, its row."""

from __future__ import annotations

from sqlalchemy.orm import Session

from core.datasets import DatasetInfo
from core.errors import DatasetExists, DatasetNotFound, Fault, InvalidJobSpec
from core.repositories.datasets import find_dataset, need_dataset, stored_dataset
from core.repositories.jobs import create_job
from core.repositories.views import claim_view_name
from core.states import DatasetState
from core.tables import JobRow
from core.validation import CheckedSpec, Lookup, builtin_dataset
from core.views import view_name


def dataset_lookup(session: Session, tenant: str) -> Lookup:
    """What job specs are checked against: registered datasets, and built-in ones that nobody has used yet."""

    def lookup(name: str) -> DatasetInfo | Fault:
        row = find_dataset(session, tenant, name)
        if row is None or "builtin" in row.source:
            return builtin_dataset(name)
        if row.state == DatasetState.READY:
            return stored_dataset(row).content.info(name)
        if row.state == DatasetState.REJECTED:
            return Fault("", f"dataset {name!r} was rejected: {row.detail}", "dataset_rejected")
        return Fault("", f"dataset {name!r} is still being imported", "dataset_not_ready")

    return lookup


def add_job(
    session: Session, tenant: str, checked: CheckedSpec, request_id: str | None, cause: str = "submitted"
) -> JobRow:
    """The job of a checked spec, its dataset needed and its view's name taken.

    Raises InvalidJobSpec where either has changed since the check.
    """
    spec = checked.spec.dataset
    try:
        if spec.view:
            claim_view_name(session, tenant, spec.view, view_name(spec))
        dataset = need_dataset(session, tenant, spec.name, request_id)
    except DatasetExists as error:
        raise InvalidJobSpec([Fault("/dataset/view", error.detail, "view_name_taken")]) from None
    except DatasetNotFound as error:
        raise InvalidJobSpec([Fault("/dataset/name", error.detail, "unknown_dataset")]) from None
    return create_job(session, tenant, checked, dataset, request_id, cause)
