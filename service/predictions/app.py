"""POST /api/v1/predict/{architecture}."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any

import orjson
from starlette.types import Receive, Scope

from service.monitoring.recorder import NATIVE, Recorder
from service.predictions.answers import predictions_of, render
from service.predictions.catalogue import Catalogue
from service.predictions.engine import Engine
from service.predictions.intake import INLINE_BYTES, Intake, stacked
from service.predictions.pictures import Contents, Medium, contents_of, medium_of
from service.predictions.predictor import Predictor
from service.predictions.query import parse_query
from service.problems import MEDIA_TYPE, HttpError
from service.raw import Answer, Header, MethodNotAllowed, RawApp, Refusal, Request

PREFIX = "/api/v1/predict/"

_PROBLEM: Header = (b"content-type", MEDIA_TYPE.encode())


class PredictApp(RawApp):
    """Answers predict requests from what the catalogue serves."""

    protocol = NATIVE

    def __init__(self, catalogue: Catalogue, engine: Engine, intake: Intake, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._catalogue = catalogue
        self._engine = engine
        self._intake = intake

    def _refused(self, error: Exception, refusal: Refusal) -> Answer:
        return Answer(orjson.dumps(refusal.problem), [*refusal.headers, _PROBLEM], refusal.status)

    async def _answer(self, scope: Scope, receive: Receive, request: Request) -> Answer:
        architecture = scope["path"][len(PREFIX) :]
        if not architecture or "/" in architecture:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is nothing at {scope['path']}")
        if scope["method"] != "POST":
            raise MethodNotAllowed(scope["path"], scope["method"], "POST")
        query = parse_query(scope["query_string"])
        predictor = request.predictor = await self._catalogue.resolve(architecture, query)
        body = await self._intake.receive(receive, request)
        try:
            return Answer(await self._predict(predictor, query.top, body, request.content_type))
        finally:
            self._intake.release(body)

    async def _predict(self, predictor: Predictor, top: int, body: bytes, content_type: bytes) -> bytes:
        contents, executor = await self._read(predictor, body, content_type)
        if executor is None:
            scores = await self._engine.score(predictor, stacked(list(contents.pictures)))
            return render(predictor, predictions_of(predictor, scores, top))
        loop = asyncio.get_running_loop()
        predictions: list[dict[str, Any]] = []
        size = self._engine.batch(predictor)
        async with self._intake.decoding.turn(contents):
            while (batch := await self._intake.next_batch(contents, executor, size)) is not None:
                scores = await self._engine.score(predictor, batch)
                predictions += await loop.run_in_executor(executor, predictions_of, predictor, scores, top)
        return await loop.run_in_executor(executor, render, predictor, predictions)

    async def _read(self, predictor: Predictor, body: bytes, content_type: bytes) -> tuple[Contents, Executor | None]:
        """The pictures, not decoded yet, and where to work on them: None is here and now."""
        medium = medium_of(content_type, body)
        described = (
            medium,
            body,
            content_type,
            (*predictor.input_shape, predictor.reduced_to),
            self._intake.max_pixels,
        )
        if len(body) <= INLINE_BYTES and medium is Medium.MULTIPART:
            loop = asyncio.get_running_loop()
            contents = await loop.run_in_executor(self._intake.small, contents_of, *described)
            return contents, self._intake.worker(body, contents, batch=0)
        contents = await self._intake.work(body, contents_of, *described)
        return contents, self._intake.worker(body, contents, self._engine.batch(predictor))
