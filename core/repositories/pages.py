"""Keyset paging over (created_at, id)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_
from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True)
class Position:
    """Where a page of a listing ended."""

    created_at: datetime
    id: str


def beyond(
    created: InstrumentedAttribute[datetime], own: InstrumentedAttribute[str], position: Position, *, descending: bool
) -> Any:
    """The condition for rows that come after the position."""
    if descending:
        return or_(created < position.created_at, and_(created == position.created_at, own < position.id))
    return or_(created > position.created_at, and_(created == position.created_at, own > position.id))
