"""/api/v1/models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from core.repositories.lineage import get_lineage
from core.repositories.models import get_version, list_models
from service.context import Context, ContextDep, TenantDep
from service.models.cards import VersionDetailView, view_detail
from service.models.markdown import card_markdown
from service.models.reading import read_model, read_moment
from service.models.schemas import LAST_VERSION, ModelList, ModelView, view_served
from service.watching import ResumeDep, answer_watch, stream_events

router = APIRouter(prefix="/api/v1/models", tags=["models"])

Version = Annotated[int, Path(ge=1, le=LAST_VERSION)]


@router.get("")
def get_models(context: ContextDep, tenant: TenantDep) -> ModelList:
    """The version that predictions use, for each model."""
    with context.database.snapshot() as session:
        return ModelList(items=[view_served(model) for model in list_models(session, tenant)])


@router.get("/{name}", response_model=ModelView, responses={304: {"description": "not changed"}})
async def get_model(
    name: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=30` waits until the model changes")] = None,
) -> Response:
    """A model: which version is best, by which rules, and all versions, newest first.

    With `Prefer: wait=N`, once it has changed from the ETag in If-None-Match or from now: by a publication or a client.
    """
    return await answer_watch(partial(read_model, context, tenant, name), if_none_match, prefer, context.stopping)


def known_model(name: str, context: ContextDep, tenant: TenantDep) -> None:
    """Looked for before a stream starts, while an error can still be answered. Raises ModelNotFound."""
    read_moment(context, tenant, name, 0)


@router.get("/{name}/events", response_class=EventSourceResponse, dependencies=[Depends(known_model)])
async def get_model_events(
    name: str, context: ContextDep, tenant: TenantDep, after: ResumeDep
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: published, promoted, rolled_back, unpinned and gate, each with the cause and what serves now.

    Resumes by Last-Event-ID. A model never ends, and neither does the stream.
    """
    async for event in stream_events(partial(read_moment, context, tenant, name), after, context.stopping):
        yield event


@router.get("/{name}/versions/{version}")
def get_model_version(name: str, version: Version, context: ContextDep, tenant: TenantDep) -> VersionDetailView:
    """One version with its card: what it was made from and how, how good, how large and how fast it is."""
    return _read_detail(context, tenant, name, version)


@router.get(
    "/{name}/versions/{version}/card.md",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {}}}},
)
def get_model_card(name: str, version: Version, context: ContextDep, tenant: TenantDep) -> Response:
    """The card as a Markdown document."""
    detail = _read_detail(context, tenant, name, version)
    return Response(card_markdown(detail), media_type="text/markdown; charset=utf-8")


def _read_detail(context: Context, tenant: str, name: str, version: int) -> VersionDetailView:
    with context.database.snapshot() as session:
        servable = get_version(session, tenant, name, version)
        return view_detail(servable, get_lineage(session, tenant, servable))
