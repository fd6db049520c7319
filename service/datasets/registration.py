"""Registering: an upload or a built-in set becomes a dataset's row, and a first verdict is waited for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import structlog
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from core.errors import DatasetExists, DatasetRejected, Fault, InvalidInput
from core.failpoints import failpoint
from core.faults import validation_faults
from core.repositories.datasets import Registration, find_dataset, forget_rejected, need_dataset, register_dataset
from core.states import DatasetState
from core.tables import DatasetRow
from service.context import Context
from service.datasets.receiving import Upload
from service.datasets.schemas import BuiltinRequest, UploadForm

log = structlog.get_logger("kerasd.api")

VERDICT_SECONDS = 4.0
"""How long an answer waits for the check of the files' structure; most are through sooner."""
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Registered:
    """The dataset's row, and whether it is a new one."""

    row: DatasetRow
    created: bool


def register_builtin(context: Context, tenant: str, body: Any, request_id: str) -> Registered:
    """Raises InvalidInput."""
    try:
        name = BuiltinRequest.model_validate(body).builtin
    except ValidationError as error:
        raise InvalidInput("the body has a fault", validation_faults(error, body)) from None
    with context.database.transaction() as session:
        before = find_dataset(session, tenant, name)
        row = need_dataset(session, tenant, name, request_id)
        created = before is None or before.id != row.id
    if created:
        _wake(context, row)
    return Registered(row, created)


def checked_form(upload: Upload) -> UploadForm:
    """Raises InvalidInput with every fault."""
    faults = []
    if not upload.files:
        faults.append(Fault("/file", "at least one part named file is needed", "required"))
    try:
        form = UploadForm.model_validate(upload.fields)
    except ValidationError as error:
        faults += validation_faults(error, upload.fields)
    if faults:
        raise InvalidInput("the form cannot be used", faults)
    return form


def register_upload(
    context: Context, tenant: str, dataset_id: str, upload: Upload, began: datetime, request_id: str
) -> Registered:
    """The dataset, new or, where the same files are there under this name already, as it is.

    Raises InvalidInput, and DatasetExists when the name belongs to other files or was taken since the upload `began`.
    """
    form = checked_form(upload)
    source = {"files": [file.name for file in upload.files], "bytes": upload.bytes, "sha256": upload.sha256}
    options = {"on_corrupt": form.on_corrupt, "cifar_labels": form.labels}
    files = [asdict(file) for file in upload.files]
    try:
        with context.database.transaction() as session:
            wanted = Registration(form.name, source, options, files, dataset_id)
            row = register_dataset(session, tenant, wanted, request_id)
            failpoint("dataset.before_commit")
    except DatasetExists:
        with context.database.snapshot() as session:
            there = find_dataset(session, tenant, form.name)
        same = there is not None and there.source.get("sha256") == upload.sha256 and there.options == options
        if there is None or not same or there.created_at >= began:
            raise
        return Registered(there, created=False)
    failpoint("dataset.after_commit")
    _wake(context, row)
    return Registered(row, created=True)


async def await_verdict(context: Context, tenant: str, registered: Registered) -> DatasetRow:
    """The dataset once its files' structure is checked, or after VERDICT_SECONDS.

    Raises DatasetRejected when the check has refused them by then: nothing is registered in that case.
    """
    row, deadline = registered.row, time.monotonic() + VERDICT_SECONDS
    while registered.created and time.monotonic() < deadline and _unchecked(row):
        await asyncio.sleep(POLL_SECONDS)
        row = await run_in_threadpool(_read, context, tenant, row)
    if registered.created and row.state == DatasetState.REJECTED and row.progress["files_total"] is None:
        await run_in_threadpool(_forget, context, tenant, row)
        faults = [Fault(f"/file/{error['file']}", error["detail"], error["code"]) for error in row.errors]
        raise DatasetRejected(f"the files cannot become a dataset: {row.detail}", faults)
    return row


def _unchecked(row: DatasetRow) -> bool:
    return row.state == DatasetState.IMPORTING and row.progress["files_total"] is None


def _read(context: Context, tenant: str, row: DatasetRow) -> DatasetRow:
    with context.database.snapshot() as session:
        return find_dataset(session, tenant, row.name) or row


def _forget(context: Context, tenant: str, row: DatasetRow) -> None:
    with context.database.transaction() as session:
        forget_rejected(session, tenant, row.id)


def _wake(context: Context, row: DatasetRow) -> None:
    if not context.wakeups.send(row.id):
        log.warning("the broker took no wake-up; a worker will find the dataset by itself", dataset=row.name)
