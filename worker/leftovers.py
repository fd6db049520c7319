"""Removes files of jobs that nothing needs: an attempt was killed before their row, or after it and before their deletion."""

from __future__ import annotations

import structlog
from sqlalchemy import select

from core.artifacts import ArtifactStore
from core.database import Database, database_now
from core.repositories.attempts import Attempt
from core.repositories.files import needed_files

log = structlog.get_logger("kerasd.worker")

GRACE_SECONDS = 3600.0
"""Files of jobs that are not in the database (yet) are let alone for so long: somebody may be bringing them here."""


def sweep_job(database: Database, store: ArtifactStore, attempt: Attempt) -> list[str]:
    """After an attempt, whoever owns the job by now. Returns what was removed."""
    return _sweep(database, store, attempt.tenant, attempt.job_id, grace_seconds=0.0)


def sweep_jobs(
    database: Database, store: ArtifactStore, tenant: str, grace_seconds: float = GRACE_SECONDS
) -> list[str]:
    """What dead workers left. Returns what was removed; any number of workers may do so at once."""
    return _sweep(database, store, tenant, None, grace_seconds)


def _sweep(
    database: Database, store: ArtifactStore, tenant: str, job_id: str | None, grace_seconds: float
) -> list[str]:
    # Files first: one that is written after this look is not in question.
    there = {
        path: changed
        for folder in ("checkpoints", tenant)
        for path, changed in store.files(f"{folder}/{job_id or ''}").items()
    }
    with database.snapshot() as session:
        needed = needed_files(session, tenant, job_id)
        now = session.scalars(select(database_now())).one()  # this worker's own clock may be wrong
    old = {path for path, changed in there.items() if now - changed >= grace_seconds} if grace_seconds else there.keys()
    removed = [path for path in old if not needed.holds(path)]
    for path in removed:
        store.delete(path)
    if removed:
        log.info("removed files that nothing needs", files=len(removed))
    return removed
