"""Submitting: the job's row is committed before it is acknowledged or any worker is woken (promise P1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import structlog

from core.failpoints import failpoint
from core.repositories.idempotency import find_answer, remember_answer
from core.repositories.jobs import create_job, duplicate_warnings, queue_position
from core.validation import CheckedSpec, check_spec
from service.context import Context, JsonBody
from service.jobs.schemas import ValidationView, view_job, view_validation

log = structlog.get_logger("kerasd.api")


@dataclass(frozen=True)
class Submission:
    """What a submit answers with: the new job, or the first answer when its key was seen before."""

    job_id: str
    answer: dict[str, Any]
    replayed: bool


def submit_job(context: Context, tenant: str, body: JsonBody, key: str | None, request_id: str) -> Submission:
    """Creates the job, or replays the answer to the same Idempotency-Key.

    Raises InvalidJobSpec, and IdempotencyKeyReused when the key came with another body.
    """
    digest = hashlib.sha256(body.raw).hexdigest()
    with context.database.transaction() as session:
        earlier = find_answer(session, tenant, key, digest) if key else None
        if earlier is not None:
            return Submission(earlier["id"], earlier, replayed=True)
        row = create_job(session, tenant, check_spec(body.value), request_id)
        answer = view_job(row, queue_position(session, row)).model_dump(mode="json")
        if key:
            remember_answer(session, tenant, key, digest, row.id, answer)
        failpoint("submit.before_commit")
    failpoint("submit.after_commit")
    if not context.wakeups.send(row.id):
        log.warning("the broker took no wake-up; a worker will find the job by itself", job=row.id)
    failpoint("submit.before_answer")
    return Submission(row.id, answer, replayed=False)


def validate_only(context: Context, tenant: str, body: JsonBody) -> ValidationView:
    """The whole check of a submit, creating nothing. Raises InvalidJobSpec."""
    checked: CheckedSpec = check_spec(body.value)
    with context.database.snapshot() as session:
        return view_validation(checked, duplicate_warnings(session, tenant, checked.spec_hash))
