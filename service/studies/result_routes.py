"""/api/v1/studies/{id}: what a study says. Table, effects, pictures, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Query, Response
from sqlalchemy.orm import Session

from core.errors import Fault, InvalidQuery
from core.repositories.studies import get_study
from core.tables import StudyRow
from service.context import Context, ContextDep, TenantDep
from service.drawing import PICTURE_TYPES, PictureKind
from service.studies.picture_names import Picture
from service.watching import known_etags

router = APIRouter(prefix="/api/v1/studies", tags=["studies"])

IfNoneMatch = Annotated[str | None, Header()]
Content = tuple[bytes | str, str]
"""of an answer, with its media type"""

TEXT_TYPES = {"csv": "text/csv; charset=utf-8", "markdown": "text/markdown; charset=utf-8"}


@router.get(
    "/{study_id}/results",
    response_class=Response,
    responses={200: {"content": {"application/json": {}, "text/csv": {}}}},
)
def get_results(
    study_id: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: IfNoneMatch = None,
    format_: Annotated[Literal["json", "csv", "markdown"], Query(alias="format")] = "json",
) -> Response:
    """The table of variants, best first: means over seeds with 95 % intervals, gap, epochs to the target, seconds; and the winners.

    A winner names those that the seeds do not tell from it.
    """

    def answer(session: Session, study: StudyRow) -> Content:
        from service.studies.analysis import read_table
        from service.studies.results import as_csv, as_markdown

        table = read_table(session, study)
        match format_:
            case "csv":
                return as_csv(table.results), TEXT_TYPES["csv"]
            case "markdown":
                return as_markdown(table.results), TEXT_TYPES["markdown"]
        return _json({**asdict(table.results), "winners": asdict(table.winners)})

    return _answer(context, tenant, study_id, if_none_match, answer)


@router.get("/{study_id}/effects", response_class=Response, responses={200: {"content": {"application/json": {}}}})
def get_effects(study_id: str, context: ContextDep, tenant: TenantDep, if_none_match: IfNoneMatch = None) -> Response:
    """The difference that each factor makes where all else is equal, paired over seeds, with 95 % intervals and in words.

    Says how many comparisons were made, how many would be outside by chance, and which hold together (Holm).
    """

    def answer(session: Session, study: StudyRow) -> Content:
        from service.studies.analysis import read_effects

        return _json(asdict(read_effects(session, study)))

    return _answer(context, tenant, study_id, if_none_match, answer)


@router.get(
    "/{study_id}/curves.{kind}",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}, "image/png": {}}}},
)
def get_curves(
    study_id: str,
    kind: PictureKind,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: IfNoneMatch = None,
    architecture: str | None = None,
) -> Response:
    """Learning curves by architecture: training solid, validation dashed, bands over seeds."""
    return _picture(context, tenant, study_id, Picture.CURVES, kind, architecture, if_none_match)


@router.get(
    "/{study_id}/pictures/{picture}.{kind}",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}, "image/png": {}}}},
)
def get_picture(
    study_id: str,
    picture: Picture,
    kind: PictureKind,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: IfNoneMatch = None,
    architecture: str | None = None,
) -> Response:
    """One of the report's pictures."""
    return _picture(context, tenant, study_id, picture, kind, architecture, if_none_match)


@router.get(
    "/{study_id}/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}, "text/markdown": {}}}},
)
def get_report(
    study_id: str,
    context: ContextDep,
    tenant: TenantDep,
    if_none_match: IfNoneMatch = None,
    format_: Annotated[Literal["html", "markdown"], Query(alias="format")] = "html",
) -> Response:
    """The whole study on one page that needs no network: question, data, table, effects, pictures, warnings, and what repeats it."""

    def answer(session: Session, study: StudyRow) -> Content:
        from service.studies.analysis import read_report
        from service.studies.report import html_report, markdown_report

        report = read_report(session, study)
        if format_ == "markdown":
            return markdown_report(report), TEXT_TYPES["markdown"]
        return html_report(report), "text/html; charset=utf-8"

    return _answer(context, tenant, study_id, if_none_match, answer)


def _picture(
    context: Context,
    tenant: str,
    study_id: str,
    picture: Picture,
    kind: PictureKind,
    architecture: str | None,
    if_none_match: str | None,
) -> Response:
    """Raises InvalidQuery for an architecture that the study has not."""

    def answer(session: Session, study: StudyRow) -> Content:
        from service.studies.analysis import read_material
        from service.studies.pictures import draw

        material = read_material(session, study)
        if architecture is not None:
            known = sorted({variant.architecture for variant in material.figures.variants})
            if architecture not in known:
                fault = Fault("/query/architecture", f"the study has {', '.join(known) or 'none yet'}")
                raise InvalidQuery("the query has a fault", [fault])
            material = material.only(architecture)
        return draw(picture, material, kind), PICTURE_TYPES[kind]

    return _answer(context, tenant, study_id, if_none_match, answer)


def _answer(
    context: Context,
    tenant: str,
    study_id: str,
    if_none_match: str | None,
    make: Callable[[Session, StudyRow], Content],
) -> Response:
    """What `make` makes, unless the caller has it already: a report takes seconds to draw."""
    from service.studies.analysis import etag_of

    with context.database.snapshot() as session:
        study = get_study(session, tenant, study_id)
        headers = {"ETag": etag_of(session, study), "Cache-Control": "no-cache"}
        if headers["ETag"] in known_etags(if_none_match):
            return Response(status_code=304, headers=headers)
        content, media_type = make(session, study)
    return Response(content, media_type=media_type, headers=headers)


def _json(value: Any) -> Content:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), "application/json"
