"""Idempotency keys: a submit that is repeated with the same key gets the first answer again, for 24 hours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from core.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.tables import IdempotencyKeyRow, utc_now

LIFETIME = timedelta(hours=24)


def find_answer(session: Session, tenant: str, key: str, body_sha256: str) -> dict[str, Any] | None:
    """The first answer to this key, or None.

    Raises IdempotencyKeyReused when it came with another body, IdempotencyKeyInFlight while the first is not answered.
    """
    _take_turn(session, f"{tenant}/{key}")
    session.execute(delete(IdempotencyKeyRow).where(IdempotencyKeyRow.created_at < utc_now() - LIFETIME))
    row = session.get(IdempotencyKeyRow, (tenant, key))
    if row is None:
        return None
    if row.body_sha256 != body_sha256:
        raise IdempotencyKeyReused(f"Idempotency-Key {key!r} was used with another body; use a new key")
    return dict(row.answer)


def _take_turn(session: Session, name: str) -> None:
    """Holds the key until the transaction ends. On SQLite there is one writer at a time anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return
    query = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 1))")
    if not session.execute(query, {"name": name}).scalar_one():
        raise IdempotencyKeyInFlight("the first request with this Idempotency-Key is still being answered; try again")


def remember_answer(
    session: Session,
    tenant: str,
    key: str,
    body_sha256: str,
    answer: dict[str, Any],
    *,
    job_id: str | None = None,
    study_id: str | None = None,
) -> None:
    """Stores the answer in the transaction that makes it true, with what it created."""
    session.add(
        IdempotencyKeyRow(
            tenant_id=tenant,
            key=key,
            body_sha256=body_sha256,
            job_id=job_id,
            study_id=study_id,
            answer=answer,
            created_at=utc_now(),
        )
    )
    session.flush()
