"""/api/v1/compare."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.comparisons.picture import draw_comparison
from service.comparisons.presentation import as_csv, as_json
from service.comparisons.reading import compare_jobs
from service.comparisons.schemas import ComparisonFormat, ComparisonView
from service.context import ContextDep, TenantDep
from service.drawing import PICTURE_TYPES

router = APIRouter(prefix="/api/v1/compare", tags=["jobs"])


@router.get(
    "",
    response_model=ComparisonView,
    responses={200: {"content": {"text/csv": {}, "image/svg+xml": {}, "image/png": {}}}},
)
def get_comparison(
    context: ContextDep,
    tenant: TenantDep,
    jobs: Annotated[
        list[str] | None, Query(description="ids, with commas between or as several parameters; at most 1,000")
    ] = None,
    baseline: Annotated[str | None, Query(description="one of the jobs; default: the first")] = None,
    format_: Annotated[ComparisonFormat, Query(alias="format")] = "json",
) -> Response:
    """Sets jobs side by side: the spec fields that differ, metrics with their deltas from the baseline, curves by epoch.

    Long histories and many jobs are down-sampled, and `downsampled` says how. CSV has a line for each job, without curves.
    """
    comparison = compare_jobs(context, tenant, jobs or [], baseline)
    if format_ == "json":
        return Response(as_json(comparison), media_type="application/json")
    if format_ == "csv":
        return Response(as_csv(comparison), media_type="text/csv; charset=utf-8")
    return Response(draw_comparison(comparison, format_), media_type=PICTURE_TYPES[format_])
