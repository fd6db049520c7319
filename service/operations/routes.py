"""/livez and /readyz."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from service.context import ContextDep
from service.operations.readiness import database_state

router = APIRouter(tags=["operations"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers. Needs no thread: those may all wait for the database."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "the database is away or not migrated"}})
def readyz(response: Response, context: ContextDep) -> dict[str, Any]:
    """Whether work can be taken. A broker that is away only degrades: workers find jobs without wake-ups."""
    database = database_state(context.database)
    broker = "ok" if context.wakeups.reachable() else "unreachable"
    if database != "ok":
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    status = "unready" if database != "ok" else "ready" if broker == "ok" else "degraded"
    return {"status": status, "checks": {"database": database, "broker": broker}}
