"""/api/v1/explain/{architecture}."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from service.explanations.explainer import Explainer, Explanation, Method
from service.explanations.picture import overlay
from service.predictions.bodies import ClientGone
from service.predictions.catalogue import Catalogue
from service.predictions.openapi import BODY
from service.predictions.query import LAST_VERSION, LONGEST_NAME, PredictQuery
from service.raw import Request as RawRequest

router = APIRouter(prefix="/api/v1/explain", tags=["predictions"])

PNG = "image/png"
CLIENT_CLOSED = 499
"""the status of an answer that nobody reads"""


class Format(StrEnum):
    """Of the answer."""

    PNG = "png"
    JSON = "json"


class ExplainedModel(BaseModel):
    name: str
    version: int
    job: str


class ExplanationView(BaseModel):
    """Which parts of an image speak for a label."""

    model: ExplainedModel
    label: str = Field(description="that was explained: the likeliest, unless another was asked for")
    probability: float = Field(description="that the model gives it")
    method: Method
    height: int = Field(description="of the heat map, and of the network's input")
    width: int
    heat: list[list[float]] = Field(
        description="height x width; sums to 1, or is all 0 where nothing in the image speaks for the label"
    )


async def get_catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


async def get_explainer(request: Request) -> Explainer:
    explainer: Explainer = request.app.state.explainer
    return explainer


@router.post(
    "/{architecture}",
    response_class=Response,
    openapi_extra={"requestBody": BODY},
    responses={200: {"model": ExplanationView, "content": {PNG: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def explain(
    architecture: str,
    request: Request,
    catalogue: Annotated[Catalogue, Depends(get_catalogue)],
    explainer: Annotated[Explainer, Depends(get_explainer)],
    dataset: Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME)] = None,
    version: Annotated[int | None, Query(ge=1, le=LAST_VERSION)] = None,
    label: Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME)] = None,
    method: Method = Method.AUTO,
    format: Annotated[Format | None, Query(description="default: what Accept asks for, else json")] = None,  # noqa: A002
) -> Response:
    """A heat map of what in one image speaks for its label, or for the `label` given: as numbers, or as a picture.

    The picture is the image in grey as the network sees it, enlarged to at least 256 pixels, with the heat in colour over
    it. Grad-CAM (in the form of HiResCAM) follows the gradient back to the last feature map; it needs a network that ends
    in pooling, flattening and dense layers, with a map of at least 4 x 4. Occlusion covers parts of the image and watches
    the label's log-odds fall; it suits any network.
    """
    predictor = await catalogue.resolve(architecture, PredictQuery(dataset, version))
    try:
        explanation = await explainer.explain(
            predictor, label, method, request.receive, RawRequest(request.scope["headers"])
        )
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    wanted = format or _accepted(request.headers.get("accept", ""))
    render = _as_picture if wanted is Format.PNG else _as_json
    return await run_in_threadpool(render, explanation)


def _accepted(accept: str) -> Format:
    return Format.PNG if PNG in accept and "application/json" not in accept else Format.JSON


def _as_picture(explanation: Explanation) -> Response:
    return Response(overlay(explanation.image, explanation.heat), media_type=PNG)


def _as_json(explanation: Explanation) -> Response:
    predictor = explanation.predictor
    height, width = explanation.heat.shape
    body: dict[str, Any] = {
        "model": {"name": predictor.name, "version": predictor.version, "job": predictor.job},
        "label": explanation.label,
        "probability": explanation.probability,
        "method": explanation.method,
        "height": height,
        "width": width,
        "heat": explanation.heat.round(9),
    }
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
