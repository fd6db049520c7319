"""/api/v1/compare."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from service.comparisons.picture import draw_comparison
from service.comparisons.reading import compare
from service.comparisons.schemas import ComparisonView, Format
from service.comparisons.selection import MOST_JOBS, select_jobs
from service.comparisons.tables import curves_csv, jobs_csv
from service.context import ContextDep, TenantDep
from service.drawing import PICTURE_TYPES

router = APIRouter(prefix="/api/v1", tags=["jobs"])


@router.get(
    "/compare",
    response_model=ComparisonView,
    responses={200: {"content": {kind: {} for kind in ("text/csv", *PICTURE_TYPES.values())}}},
)
def get_comparison(
    context: ContextDep,
    tenant: TenantDep,
    jobs: Annotated[
        list[str] | None,
        Query(description=f"ids, separated by commas or each a parameter of its own; up to {MOST_JOBS:,}"),
    ] = None,
    baseline: Annotated[str | None, Query(description="one of them; default: the first")] = None,
    format_: Annotated[
        Format, Query(alias="format", description="csv has a line a job, curves_csv a line an epoch of a job")
    ] = "json",
) -> Response:
    """Any jobs side by side: the spec fields that differ, figures with their differences to a baseline, aligned curves.

    Curves of many jobs or epochs are thinned out, and then `downsampled` says how: two curves have the same epochs, as far
    as both are told as densely.
    """
    comparison = compare(context, tenant, select_jobs(jobs or [], baseline), curves=format_ != "csv")
    match format_:
        case "json":
            return Response(orjson.dumps(comparison), media_type="application/json")
        case "csv" | "curves_csv":
            text = jobs_csv(comparison) if format_ == "csv" else curves_csv(comparison)
            return Response(text, media_type="text/csv; charset=utf-8")
        case "svg" | "png":
            return Response(draw_comparison(comparison, format_), media_type=PICTURE_TYPES[format_])
