"""Keyset pages: an opaque token says where the last page ended."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, NoReturn

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
    return _encode([position.created_at.isoformat(), position.id])


def decode_token(token: str) -> Position:
    """Raises InvalidQuery for anything that encode_token did not make."""
    try:
        created_at, own_id = _decode(token)
        position = _position(datetime.fromisoformat(created_at), own_id)
    except (binascii.Error, ValueError, TypeError, OverflowError):
        position = None
    return _refused() if position is None else position


def encode_number(number: int) -> str:
    """The token of a listing that is in the order of a number."""
    return _encode(number)


def decode_number(token: str) -> int:
    """Raises InvalidQuery for anything that encode_number did not make."""
    try:
        number = _decode(token)
    except (binascii.Error, ValueError):
        number = None
    return number if isinstance(number, int) and 0 <= number < 2**31 else _refused()


def _encode(content: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _decode(token: str) -> Any:
    return orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))


def _refused() -> NoReturn:
    raise InvalidQuery("the query has a fault", [Fault("/query/page_token", "is not a token of this listing")])


def _position(created_at: datetime, own_id: object) -> Position | None:
    """Raises OverflowError for a time that is outside the calendar in UTC."""
    if created_at.tzinfo is None or not isinstance(own_id, str) or "\0" in own_id:
        return None
    return Position(created_at.astimezone(UTC), own_id)
