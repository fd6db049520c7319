"""Query parameters that a route does not know are refused: `validateonly=true` must not create a job."""

from __future__ import annotations

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from core.errors import Fault, InvalidQuery

PREFIX = "/api/v1/"


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of the whole app, and so of each route there will be. Raises InvalidQuery naming each parameter."""
    route = request.scope["route"]
    if not request.query_params or not isinstance(route, APIRoute) or not route.path.startswith(PREFIX):
        return
    known = [field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)]
    unknown = sorted(request.query_params.keys() - set(known))
    if unknown:
        detail = (
            f"unknown parameter; known are {', '.join(known)}" if known else "unknown parameter; there are none here"
        )
        faults = [Fault(f"/query/{name}", detail, "unknown_parameter") for name in unknown]
        raise InvalidQuery(f"the query has {'a fault' if len(faults) == 1 else f'{len(faults)} faults'}", faults)
