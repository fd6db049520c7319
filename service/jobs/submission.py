"""Submitting: the job's row is committed before it is acknowledged or any worker is woken (promise P1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import structlog

from core.errors import Fault, InvalidJobSpec
from core.failpoints import failpoint
from core.repositories.datasets import find_dataset
from core.repositories.donors import donor_lookup
from core.repositories.idempotency import find_answer, remember_answer
from core.repositories.jobs import (
    dataset_warnings,
    duplicate_warnings,
    measured_speed,
    queue_position,
)
from core.repositories.submissions import add_job, dataset_lookup
from core.repositories.views import view_conflict
from core.validation import CheckedSpec, check_spec
from core.views import view_name
from service.context import Context, JsonBody
from service.jobs.estimates import estimate
from service.jobs.schemas import ValidationView, view_job, view_validation

log = structlog.get_logger("kerasd.api")


@dataclass(frozen=True)
class Submission:
    """What a submit answers with: the new job or study, or the first answer when its key was seen before."""

    id: str
    answer: dict[str, Any]
    replayed: bool


def submit_job(context: Context, tenant: str, body: JsonBody, key: str | None, request_id: str) -> Submission:
    """Creates the job, or replays the answer to the same Idempotency-Key.

    Raises InvalidJobSpec, and IdempotencyKeyReused when the key came with another body.
    """
    digest = hashlib.sha256(body.raw).hexdigest()
    # A key that was seen before answers first: what was valid then may not be now.
    checked = None if key else _check(context, tenant, body)
    with context.database.transaction() as session:
        earlier = find_answer(session, tenant, key, digest) if key else None
        if earlier is not None:
            return Submission(earlier["id"], earlier, replayed=True)
        checked = checked or check_spec(body.value, dataset_lookup(session, tenant), donor_lookup(session, tenant))
        row = add_job(session, tenant, checked, request_id)
        answer = view_job(row, queue_position(session, row)).model_dump(mode="json")
        if key:
            remember_answer(session, tenant, key, digest, answer, job_id=row.id)
        failpoint("submit.before_commit")
    failpoint("submit.after_commit")
    if not context.wakeups.send(row.id, checked.spec.queue):
        log.warning("the broker took no wake-up; a worker will find the job by itself", job=row.id)
    failpoint("submit.before_answer")
    return Submission(row.id, answer, replayed=False)


def validate_only(context: Context, tenant: str, body: JsonBody) -> ValidationView:
    """The whole check of a submit, creating nothing. Raises InvalidJobSpec."""
    checked = _check(context, tenant, body)
    with context.database.snapshot() as session:
        dataset = find_dataset(session, tenant, checked.spec.dataset.name)
        warnings = [*dataset_warnings(dataset, checked), *duplicate_warnings(session, tenant, checked.spec_hash)]
        earlier = measured_speed(session, tenant, checked)
    estimated = estimate(checked, earlier, context.settings.cache_pixel_bytes)
    return view_validation(checked, estimated, warnings)


def _check(context: Context, tenant: str, body: JsonBody) -> CheckedSpec:
    """Outside a write transaction: a large spec must not keep other writers waiting. Raises InvalidJobSpec."""
    with context.database.snapshot() as session:
        checked = check_spec(body.value, dataset_lookup(session, tenant), donor_lookup(session, tenant))
        view = checked.spec.dataset.view
        trouble = view and view_conflict(session, tenant, view, view_name(checked.spec.dataset))
    if trouble:
        raise InvalidJobSpec([Fault("/dataset/view", trouble, "view_name_taken")])
    return checked
