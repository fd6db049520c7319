"""Keyset pages: an opaque token says where the last page ended."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

import orjson

from core.errors import Fault, InvalidQuery
from core.repositories.pages import Position

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000


def page_limit(page_size: int) -> int:
    """The size to use: larger than the maximum is clamped. Raises InvalidQuery below 1."""
    if page_size < 1:
        raise InvalidQuery("the query has a fault", [Fault("/query/page_size", "must be at least 1")])
    return min(page_size, MAX_PAGE_SIZE)


def encode_token(position: Position) -> str:
    content = orjson.dumps([position.created_at.isoformat(), position.id])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode_token(token: str) -> Position:
    """Raises InvalidQuery for anything that encode_token did not make."""
    try:
        created_at, own_id = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        position = _position(datetime.fromisoformat(created_at), own_id)
    except (binascii.Error, ValueError, TypeError, OverflowError):
        position = None
    if position is None:
        raise InvalidQuery("the query has a fault", [Fault("/query/page_token", "is not a token of this listing")])
    return position


def _position(created_at: datetime, own_id: object) -> Position | None:
    """Raises OverflowError for a time that is outside the calendar in UTC."""
    if created_at.tzinfo is None or not isinstance(own_id, str) or "\0" in own_id:
        return None
    return Position(created_at.astimezone(UTC), own_id)
