"""RFC 9457 problems: the one place where errors become HTTP answers."""

from __future__ import annotations

import errno
import sqlite3
from http import HTTPStatus
from typing import Any

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core import errors
from core.database import is_away

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1

SCHEMA_BEHIND = ("42P01", "42703")
"""What Postgres calls a table and a column that are not there: migrations still run. SQLite's are OperationalErrors."""

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.InvalidJobSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ArtifactCorrupt: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ArtifactStoreFailed: HTTPStatus.SERVICE_UNAVAILABLE,
}


class HttpError(errors.KerasdError):
    """An error that exists only in HTTP: a body too large, an unknown path, a wrong method."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


def status_of(error: Exception) -> HTTPStatus:
    if isinstance(error, HttpError):
        return error.status
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    if _database_is_away(error) or _out_of_descriptors(error):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _database_is_away(error: Exception) -> bool:
    """Whether trying again can help; any other error of the database is a mistake of ours."""
    if isinstance(error, DBAPIError):
        return is_away(error) or getattr(error.orig, "sqlstate", None) in SCHEMA_BEHIND
    return isinstance(error, PoolTimeout)


def _database_is_busy(error: Exception) -> bool:
    """Whether others kept the database for longer than is waited for it."""
    if isinstance(error, PoolTimeout):
        return True
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def _out_of_descriptors(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in NO_DESCRIPTORS


def problem(error: Exception, request_id: str) -> tuple[HTTPStatus, dict[str, Any]]:
    """The status and body for any error. What is not ours says nothing of its insides."""
    status = status_of(error)
    if isinstance(error, errors.KerasdError):
        code, detail = error.code, error.detail
    elif _out_of_descriptors(error):
        code, detail = "overloaded", "too many files and connections are open; try again"
    elif _database_is_busy(error):
        code, detail = "database_busy", "others are writing to the database; try again"
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        code, detail = "database_unavailable", "the database does not answer; try again"
    else:
        code, detail = "internal_error", "something went wrong here; the log has it under this request_id"
    body: dict[str, Any] = {
        "type": f"urn:kerasd:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if isinstance(error, errors.InvalidInput) and error.faults:
        body["errors"] = [
            {"pointer": fault.pointer, "detail": fault.detail, "code": fault.code} for fault in error.faults
        ]
    return status, body
