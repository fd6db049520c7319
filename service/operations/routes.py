"""/livez and /readyz."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.exc import DBAPIError

from core.tables import SCHEMA_REVISION
from service.context import Context, ContextDep

router = APIRouter(tags=["operations"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers. Needs no thread: those may all wait for the database."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "the database is away or not migrated"}})
def readyz(response: Response, context: ContextDep) -> dict[str, Any]:
    """Whether work can be taken. A broker that is away only degrades: workers find jobs without wake-ups."""
    database = _database_state(context)
    broker = "ok" if context.wakeups.reachable() else "unreachable"
    if database != "ok":
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    status = "unready" if database != "ok" else "ready" if broker == "ok" else "degraded"
    return {"status": status, "checks": {"database": database, "broker": broker}}


def _database_state(context: Context) -> str:
    try:
        revision = context.database.schema_revision()
    except DBAPIError:
        return "unreachable"
    return "ok" if revision == SCHEMA_REVISION else f"at schema {revision}, needs {SCHEMA_REVISION}; run kerasd migrate"
