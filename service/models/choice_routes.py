"""What may be asked of a model: :promote, :rollback, :unpin, :gate. Each may be tied to an ETag by If-Match."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from core.repositories.best import lock_best, promote, roll_back, set_margin, unpin
from core.tables import BestRow
from service.context import Context, ContextDep, JsonBodyDep, TenantDep
from service.documentation import body_schema
from service.models.reading import present_model
from service.models.schemas import GateRequest, ModelView, NoFields, PromoteRequest, etag_of
from service.preconditions import IfMatchHeader, require_match

router = APIRouter(prefix="/api/v1/models", tags=["models"])

Change = Callable[[Session, BestRow], None]


@router.post("/{name}:promote", openapi_extra=body_schema(PromoteRequest))
def promote_version(
    name: str,
    body: JsonBodyDep,
    context: ContextDep,
    tenant: TenantDep,
    response: Response,
    if_match: IfMatchHeader = None,
) -> ModelView:
    """Has predictions use a version from now on, and pins it: none that is published later replaces it."""
    version = body.parsed(PromoteRequest).version
    return _changed(context, tenant, name, if_match, response, partial(promote, version=version))


@router.post("/{name}:rollback", openapi_extra=body_schema(NoFields, required=False))
def roll_model_back(
    name: str,
    body: JsonBodyDep,
    context: ContextDep,
    tenant: TenantDep,
    response: Response,
    if_match: IfMatchHeader = None,
) -> ModelView:
    """Goes back to the version that was served before the present one, and pins it; once more goes back one further.

    409 `no_earlier_version` when nothing was served before.
    """
    body.parsed(NoFields)
    return _changed(context, tenant, name, if_match, response, roll_back)


@router.post("/{name}:unpin", openapi_extra=body_schema(NoFields, required=False))
def unpin_model(
    name: str,
    body: JsonBodyDep,
    context: ContextDep,
    tenant: TenantDep,
    response: Response,
    if_match: IfMatchHeader = None,
) -> ModelView:
    """Leaves the choice to the rules again: of all versions, the one that they would have come to serves at once.

    Unpinning a model that is not pinned changes nothing.
    """
    body.parsed(NoFields)
    return _changed(context, tenant, name, if_match, response, unpin)


@router.post("/{name}:gate", openapi_extra=body_schema(GateRequest))
def set_gate(
    name: str,
    body: JsonBodyDep,
    context: ContextDep,
    tenant: TenantDep,
    response: Response,
    if_match: IfMatchHeader = None,
) -> ModelView:
    """Sets by how much versions that are published from now on must beat the served one, which stays as it is."""
    margin = body.parsed(GateRequest).margin
    return _changed(context, tenant, name, if_match, response, partial(set_margin, margin=margin))


def _changed(
    context: Context, tenant: str, name: str, if_match: str | None, response: Response, change: Change
) -> ModelView:
    with context.database.transaction() as session:
        best = lock_best(session, tenant, name)
        require_match(if_match, etag_of(best))
        change(session, best)
        view = present_model(session, best)
    response.headers["ETag"] = view.etag
    return view
