"""Whether the database can serve this release."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.tables import SCHEMA_REVISION


def database_state(database: Database) -> str:
    """What is wrong with it, or "ok"."""
    try:
        revision = database.schema_revision()
    except DBAPIError:
        return "unreachable"
    return "ok" if revision == SCHEMA_REVISION else f"at schema {revision}, needs {SCHEMA_REVISION}; run kerasd migrate"
