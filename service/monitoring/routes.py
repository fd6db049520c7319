"""/metrics and /api/v1/models/{name}/traffic."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from core.database import Database
from core.repositories.traffic import read_references, read_traffic
from service.context import ContextDep, TenantDep
from service.monitoring.monitor import Monitor
from service.monitoring.snapshot import Snapshot
from service.monitoring.traffic import ModelTraffic, traffic_of

router = APIRouter()


async def get_monitor(request: Request) -> Monitor:
    monitor: Monitor = request.app.state.monitor
    return monitor


MonitorDep = Annotated[Monitor, Depends(get_monitor)]


@router.get(
    "/metrics",
    tags=["operations"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(monitor: MonitorDep) -> Response:
    """Prometheus's text format: predictions by model, version and protocol, the queue, the control plane, jobs and tasks."""
    return await run_in_threadpool(_written, await monitor.snapshot())


@router.get("/api/v1/models/{name}/traffic", tags=["models"])
async def get_traffic(name: str, context: ContextDep, tenant: TenantDep, monitor: MonitorDep) -> ModelTraffic:
    """What a model's versions were asked in the last five minutes, by all API processes together, and whether it drifts."""
    told = await monitor.reporter.live(name)
    return await run_in_threadpool(_together, context.database, tenant, name, told, monitor.reporter.process)


def _written(snapshot: Snapshot) -> Response:
    from prometheus_client import CONTENT_TYPE_LATEST

    from service.monitoring.metrics import written  # at the first request: most of its import is not needed otherwise

    return Response(written(snapshot), media_type=CONTENT_TYPE_LATEST)


def _together(
    database: Database, tenant: str, name: str, told: list[tuple[int, dict[str, Any]]], own_process: str
) -> ModelTraffic:
    """What this process has seen, with what the others have written."""
    with database.snapshot() as session:
        told = [*told, *read_traffic(session, tenant, name, but_of=own_process)]
        references = read_references(session, tenant, {(name, version) for version, _ in told})
    return traffic_of(name, told, {version: reference for (_, version), reference in references.items()})
