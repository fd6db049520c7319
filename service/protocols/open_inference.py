"""The Open Inference Protocol at /v2, with the extensions of Triton that its HTTP client uses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version as version_of
from typing import Any, NamedTuple

import orjson
from starlette.types import Receive, Scope

from service.monitoring.recorder import OPEN_INFERENCE, Recorder
from service.predictions.catalogue import Catalogue
from service.predictions.engine import Engine
from service.predictions.instances import MOST_INSTANCES
from service.predictions.intake import Intake
from service.predictions.pictures import Fit, all_fitted, encoded, fits
from service.predictions.predictor import Predictor
from service.predictions.served import Unloadable
from service.protocols.application import Images, ProtocolApp, compressed, nothing_at, only, render, unusable
from service.protocols.infer_answers import configuration, inferred, metadata
from service.protocols.infer_requests import Output, parse_infer
from service.protocols.names import Target, parse_target
from service.protocols.statistics import Statistics
from service.protocols.versions import Described, Published
from service.raw import Answer, Request

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics")
ON_DEMAND = "loaded when it is asked for"

_MODEL = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[0-9]+))?(?:/(?P<wants>infer|ready|config|stats))?"
).fullmatch
_SERVER = {
    "/v2": "server",
    "/v2/": "server",
    "/v2/health/live": "live",
    "/v2/health/ready": "server_ready",
    "/v2/repository/index": "index",
    "/v2/models/stats": "all_stats",
}
_POSTED = ("infer", "index")


class Route(NamedTuple):
    wants: str
    target: Target | None = None
    """None is the server"""


class OpenInference(ProtocolApp):
    protocol = OPEN_INFERENCE

    def __init__(
        self,
        catalogue: Catalogue,
        engine: Engine,
        intake: Intake,
        published: Published,
        recorder: Recorder,
        statistics: Statistics,
    ) -> None:
        super().__init__(catalogue, engine, intake, recorder)
        self._published = published
        self._statistics = statistics

    async def _answer(self, scope: Scope, receive: Receive, request: Request) -> Answer:
        wants, target = parse_route(scope["path"])
        only(scope, "POST" if wants in _POSTED else "GET")
        if wants == "infer" and target is not None:
            return await self._infer(target, receive, request)
        if wants == "index":
            return await self._index(receive, request)
        return await (self._about_server(wants) if target is None else self._about_model(wants, target))

    async def _infer(self, target: Target, receive: Receive, request: Request) -> Answer:
        predictor = request.predictor = await self._resolve(target)
        body = await self._intake.receive(receive, request)
        try:
            length = request.headers.get(b"inference-header-content-length")
            own_id, images, outputs = await self._intake.work(
                body, _read, body, length, predictor, self._intake.max_pixels
            )
            scores = await self._score(predictor, images, body)
            return await compressed(inferred(predictor, scores, outputs, own_id), request)
        finally:
            self._intake.release(body)

    async def _index(self, receive: Receive, request: Request) -> Answer:
        """Every version: none is loaded to learn whether it can be."""
        body = await self._intake.receive(receive, request)
        self._intake.release(body)
        only_ready = _only_ready(body)
        entries = [self._indexed(name, number) for name, number in await self._published.everything()]
        return Answer(render([entry for entry in entries if entry["state"] == "READY" or not only_ready]))

    def _indexed(self, name: str, version: int) -> dict[str, Any]:
        state, reason = "READY", ON_DEMAND
        served = self._catalogue.served().get(name)
        if isinstance(served, Predictor) and served.version == version:
            reason = ""
        elif isinstance(served, Unloadable) and served.servable.row.version == version:
            state, reason = "UNAVAILABLE", str(served.error)
        return {"name": name, "version": str(version), "state": state, "reason": reason}

    async def _about_server(self, wants: str) -> Answer:
        if wants == "live":
            return Answer(render({"live": True}))
        if wants == "server_ready":
            return await self._server_ready()
        if wants == "all_stats":
            return Answer(render(self._statistics.of()))
        return Answer(render({"name": "kerasd", "version": version_of("kerasd"), "extensions": EXTENSIONS}))

    async def _server_ready(self) -> Answer:
        state = await self._published.database_state()
        if state == "ok":
            return Answer(render({"ready": True}))
        return Answer(render({"ready": False, "error": f"the database is {state}"}), status=503)

    async def _about_model(self, wants: str, target: Target) -> Answer:
        if wants == "ready":  # it is loaded for this, so that the answer is true
            await self._resolve(target)
            return Answer(render({"name": target.name, "ready": True}))
        model = await self._describe(target)
        if wants == "config":
            return Answer(render(configuration(model, MOST_INSTANCES)))
        if wants == "stats":
            return Answer(render(self._statistics.of(model.row.name, target.query.version)))
        return Answer(render(metadata(model)))

    async def _describe(self, target: Target) -> Described:
        name = target.full_name or (await self._resolve(target)).name
        return await self._published.describe(name, target.query.version)


def _read(
    body: bytes, header_length: bytes | None, predictor: Predictor, max_pixels: int
) -> tuple[str | None, Images, Sequence[Output]]:
    fit: Fit = (*predictor.input_shape, predictor.reduced_to)
    own_id, images, outputs = parse_infer(body, header_length, fit[2])
    if isinstance(images, list):
        return own_id, encoded(images, fit, max_pixels), outputs
    return own_id, images if fits(images.shape[1:], fit) else all_fitted(images, fit), outputs


def _only_ready(body: bytes) -> bool:
    try:
        asked = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise unusable(f"the body is not JSON: {error}") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("ready", False), bool):
        raise unusable('the body must be empty or an object: {"ready": true} leaves out what is not')
    return bool(asked.get("ready", False))


@lru_cache(maxsize=1024)
def parse_route(path: str) -> Route:
    """Raises HttpError (404), ModelNotFound."""
    if path in _SERVER:
        return Route(_SERVER[path])
    found = _MODEL(path)
    if found is None:
        raise nothing_at(path)
    return Route(found["wants"] or "metadata", parse_target(found["name"], found["version"]))
