"""Asking for a batch prediction: checked, and its row committed before it is acknowledged or any worker is woken."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy.orm import Session

from core.errors import Fault, IdempotencyKeyReused, InvalidInput, ModelNotFound
from core.failpoints import failpoint
from core.faults import validation_faults
from core.repositories.datasets import find_dataset, stored_dataset
from core.repositories.models import get_best, get_version
from core.repositories.tasks import NewTask, TaskKind, create_task, find_by_key
from core.states import DatasetState
from core.tables import ModelVersionRow, TaskRow
from service.batch_predictions.schemas import BatchForm, BatchOptions, BatchRequest
from service.context import Context, JsonBody
from service.datasets.receiving import Upload

log = structlog.get_logger("kerasd.api")

KIND: TaskKind = "batch_prediction"


def submit_stored(context: Context, tenant: str, body: JsonBody, key: str | None, request_id: str) -> TaskRow:
    """For a stored dataset. Raises InvalidInput, IdempotencyKeyReused."""
    digest = hashlib.sha256(body.raw).hexdigest()
    earlier = _earlier(context, tenant, key, digest)
    if earlier is not None:
        return earlier
    try:
        wanted = BatchRequest.model_validate(body.value)
    except ValidationError as error:
        raise InvalidInput("the body has a fault", validation_faults(error, body.value)) from None
    with context.database.transaction() as session:
        version = _version(session, tenant, wanted)
        dataset = _dataset(session, tenant, wanted, version)
        spec = _spec(wanted, version, digest) | {"dataset": dataset, "file": None}
        row = create_task(session, tenant, NewTask(KIND, spec, _task_key(key)), request_id)
        failpoint("batch.before_commit")
    return _woken(context, row, digest)


def submit_upload(
    context: Context, tenant: str, task_id: str, upload: Upload, key: str | None, request_id: str
) -> TaskRow:
    """For an archive, which lies under the task's id. Raises InvalidInput, IdempotencyKeyReused."""
    fields = sorted(upload.fields.items())
    digest = hashlib.sha256(f"{upload.sha256} {fields}".encode()).hexdigest()
    earlier = _earlier(context, tenant, key, digest)
    if earlier is not None:
        return earlier
    wanted = _checked_form(upload)
    uploads = tuple(asdict(file) for file in upload.files)
    with context.database.transaction() as session:
        version = _version(session, tenant, wanted)
        spec = _spec(wanted, version, digest) | {"dataset": None, "file": upload.files[0].name}
        row = create_task(session, tenant, NewTask(KIND, spec, _task_key(key), uploads, task_id), request_id)
        failpoint("batch.before_commit")
    return _woken(context, row, digest)


def _checked_form(upload: Upload) -> BatchForm:
    """Raises InvalidInput with every fault."""
    faults = []
    if len(upload.files) != 1:
        faults.append(Fault("/file", "one part named file is needed: a zip or tar archive of images", "required"))
    try:
        form = BatchForm.model_validate(upload.fields)
    except ValidationError as error:
        faults += validation_faults(error, upload.fields)
    if faults:
        raise InvalidInput("the form cannot be used", faults)
    return form


def _spec(wanted: BatchOptions, version: ModelVersionRow, digest: str) -> dict[str, Any]:
    return {
        "model": version.name,
        "version": version.version,
        "format": wanted.format,
        "top": min(wanted.top, len(version.labels)),
        "request_sha256": digest,
    }


def _version(session: Session, tenant: str, wanted: BatchOptions) -> ModelVersionRow:
    """The version asked for, or the best one. Raises InvalidInput."""
    try:
        version = wanted.version or get_best(session, tenant, wanted.model).version
        return get_version(session, tenant, wanted.model, version).row
    except ModelNotFound as error:
        pointer = "/model" if wanted.version is None else "/version"
        raise InvalidInput("there is no such model", [Fault(pointer, error.detail, "unknown_model")]) from None


def _dataset(session: Session, tenant: str, wanted: BatchRequest, version: ModelVersionRow) -> dict[str, Any]:
    """What the task remembers of the dataset. Raises InvalidInput."""
    row = find_dataset(session, tenant, wanted.dataset)
    if row is None:
        fault = Fault("/dataset", f"there is no dataset {wanted.dataset!r}", "unknown_dataset")
    elif row.state != DatasetState.READY:
        fault = Fault("/dataset", f"dataset {wanted.dataset!r} is {row.state}", "dataset_not_ready")
    elif wanted.split not in (None, *stored_dataset(row).content.splits) and row.digest != version.dataset_digest:
        fault = Fault("/split", f"dataset {wanted.dataset!r} has no split {wanted.split}", "unknown_split")
    else:
        return {"name": row.name, "digest": row.digest, "split": wanted.split}
    raise InvalidInput("the dataset cannot be used", [fault])


def _task_key(key: str | None) -> str | None:
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


def _earlier(context: Context, tenant: str, key: str | None, digest: str) -> TaskRow | None:
    """What the same request made before. Raises IdempotencyKeyReused."""
    if key is None:
        return None
    with context.database.snapshot() as session:
        row = find_by_key(session, tenant, KIND, _task_key(key) or "")
    return None if row is None else _same(row, digest)


def _same(row: TaskRow, digest: str) -> TaskRow:
    """Raises IdempotencyKeyReused."""
    if row.spec["request_sha256"] != digest:
        raise IdempotencyKeyReused("this Idempotency-Key was used with another request; use a new key")
    return row


def _woken(context: Context, row: TaskRow, digest: str) -> TaskRow:
    """The row after the commit. Raises IdempotencyKeyReused where another request took its key meanwhile."""
    _same(row, digest)
    if not context.wakeups.send(row.id):
        log.warning("the broker took no wake-up; a worker will find the batch prediction by itself", task=row.id)
    return row
