"""TensorFlow Serving's REST interface at /v1. KServe's first protocol shares its paths, and what it adds is answered too."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.types import Receive, Scope

from core.errors import ArtifactCorrupt, ArtifactStoreFailed, ModelNotFound
from service.monitoring.recorder import TENSORFLOW_SERVING, Recorder
from service.predictions.catalogue import Catalogue
from service.predictions.engine import Engine
from service.predictions.intake import Intake
from service.predictions.query import PredictQuery
from service.predictions.served import BEST
from service.problems import HttpError
from service.protocols.application import ProtocolApp, compressed, nothing_at, only, render
from service.protocols.names import Target, parse_target
from service.protocols.tensorflow_answers import ON_DEMAND, available, failed, metadata, predicted
from service.protocols.tensorflow_requests import parse_predict
from service.protocols.versions import Published
from service.raw import Answer, Request

_PATH = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
    r"(?:/(?P<metadata>metadata)|:(?P<method>[a-z]+))?)?"
).fullmatch


class Route(NamedTuple):
    target: Target | None
    """None is all models"""
    wants: str
    """status, metadata, or the method of a POST"""
    labelled: bool = False
    """with the label of the version that is served"""


class TensorFlowServing(ProtocolApp):
    protocol = TENSORFLOW_SERVING

    def __init__(
        self, catalogue: Catalogue, engine: Engine, intake: Intake, published: Published, recorder: Recorder
    ) -> None:
        super().__init__(catalogue, engine, intake, recorder)
        self._published = published

    async def _answer(self, scope: Scope, receive: Receive, request: Request) -> Answer:
        target, wants, labelled = parse_route(scope["path"])
        if wants == "predict" and target is not None:
            only(scope, "POST")
            return await self._predict(target, receive, request)
        if wants not in ("status", "metadata"):
            only(scope, "POST")
            raise HttpError(
                HTTPStatus.BAD_REQUEST, "no_such_method", f"the models have the method predict, not {wants}"
            )
        only(scope, "GET")
        if target is None:
            return Answer(render({"models": sorted({name for name, _ in await self._published.everything()})}))
        answer = self._metadata(target) if wants == "metadata" else self._status(target, labelled)
        return Answer(render(await answer))

    async def _predict(self, target: Target, receive: Receive, request: Request) -> Answer:
        predictor = request.predictor = await self._resolve(target)
        body = await self._intake.receive(receive, request)
        try:
            fit = (*predictor.input_shape, predictor.reduced_to)
            query = await self._intake.work(body, parse_predict, body, fit, self._intake.max_pixels)
            scores = await self._score(predictor, query.images, body)
            return await compressed(Answer(render(predicted(scores, rows=query.rows))), request)
        finally:
            self._intake.release(body)

    async def _metadata(self, target: Target) -> dict[str, Any]:
        return metadata(await self._published.describe(await self._name(target), target.query.version))

    async def _status(self, target: Target, labelled: bool) -> dict[str, Any]:
        """Of the version asked for, or of all. The one that matters is loaded for it, so that the answer is true."""
        name = await self._name(target)
        model = await self._published.describe(name, target.query.version)
        one = model.best if labelled else target.query.version
        states = [
            await self._try_out(name, number) if number in (one, model.best) else available(number, ON_DEMAND)
            for number in ((one,) if one else reversed(model.versions))
        ]
        ready = any(state["state"] == "AVAILABLE" for state in states)
        return {"name": name, "ready": ready, "model_version_status": states}

    async def _try_out(self, name: str, version: int) -> dict[str, Any]:
        view, _, architecture = name.rpartition(".")
        try:
            await self._catalogue.resolve(architecture, PredictQuery(dataset=view, version=version))
        except (ArtifactCorrupt, ArtifactStoreFailed) as error:
            return failed(version, error)
        return available(version)

    async def _name(self, target: Target) -> str:
        return target.full_name or (await self._resolve(target)).name


@lru_cache(maxsize=1024)
def parse_route(path: str) -> Route:
    """Raises HttpError (404), ModelNotFound."""
    found = _PATH(path)
    if found is None:
        raise nothing_at(path)
    name, label, wants = found["name"], found["label"], found["method"] or found["metadata"] or "status"
    if name is None:
        return Route(None, wants)
    if label not in (None, BEST):
        raise ModelNotFound(f"model {name!r} has no label {label!r}; it has {BEST!r}, the version that is served")
    return Route(parse_target(name, found["version"]), wants, label is not None)
