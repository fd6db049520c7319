"""POST /api/v1/predict/{architecture} as a raw ASGI application.

It runs inside the API's process, in front of FastAPI. Small pictures are decoded on the event loop: handing them to a
thread would cost more than the work. Whatever can take long goes to threads, large bodies and large pictures apart from
the rest, so that no photograph keeps others waiting. Of the largest, one is decoded at a time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from core.settings import Settings
from service.predictions.answers import predictions_of, render
from service.predictions.bodies import Bodies, ClientGone
from service.predictions.catalogue import Catalogue
from service.predictions.decoding import Decoding
from service.predictions.engine import Engine
from service.predictions.instances import Tensor
from service.predictions.pictures import Contents, Medium, contents_of, medium_of
from service.predictions.predictor import Predictor
from service.predictions.query import parse_query
from service.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, HttpError, problem
from service.requests import refuse_nul

log = structlog.get_logger("kerasd.predict")

PREFIX = "/api/v1/predict/"

INLINE_BYTES = 64 << 10
INLINE_PIXELS = 1 << 18
"""A picture with more pixels than this, or a body with more bytes, is left to a thread."""

WORKERS = 2
"""threads of each kind"""

COLLECT_AFTER = (50_000, 20, 100)

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", MEDIA_TYPE.encode())

Header = tuple[bytes, bytes]


@dataclass
class Request:
    """What the headers say."""

    content_type: bytes = b""
    content_length: int = 0
    id: str = ""


class PredictApp:
    """Answers predict requests from what the catalogue serves."""

    def __init__(self, catalogue: Catalogue, engine: Engine, settings: Settings) -> None:
        self._catalogue = catalogue
        self._engine = engine
        self._max_pixels = settings.max_image_pixels
        self._bodies = Bodies(settings.max_predict_bytes)
        self._decoding = Decoding(settings.max_image_pixels)
        self._large = ThreadPoolExecutor(WORKERS, "predict-large")
        self._small = ThreadPoolExecutor(WORKERS, "predict")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _read_headers(scope["headers"])
        status, content = 200, b""
        headers: list[Header] = [_JSON]
        try:
            content = await self._answer(scope, receive, request)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001  (each failure is answered; what is not ours is logged as well)
            status, headers, content = _refusal(error, request.id)
        headers += ((b"content-length", b"%d" % len(content)), (b"x-request-id", request.id.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Receive, request: Request) -> bytes:
        architecture = scope["path"][len(PREFIX) :]
        if not architecture or "/" in architecture:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is nothing at {scope['path']}")
        if scope["method"] != "POST":
            detail = f"{scope['path']} takes POST, not {scope['method']}"
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        refuse_nul(scope)
        query = parse_query(scope["query_string"])
        predictor = await self._catalogue.resolve(architecture, query)
        body = await self._bodies.receive(receive, request.content_length)
        try:
            return await self._predict(predictor, query.top, body, request.content_type)
        finally:
            self._bodies.release(body)

    async def _predict(self, predictor: Predictor, top: int, body: bytes, content_type: bytes) -> bytes:
        contents, executor = await self._read(predictor, body, content_type)
        if executor is None:
            scores = await self._engine.score(predictor, np.stack(list(contents.pictures)))
            return render(predictor, predictions_of(predictor, scores, top))
        loop = asyncio.get_running_loop()
        predictions: list[dict[str, Any]] = []
        size = self._engine.batch(predictor)
        async with self._decoding.turn(contents):
            while (batch := await loop.run_in_executor(executor, _next_batch, contents.pictures, size)) is not None:
                scores = await self._engine.score(predictor, batch)
                predictions += await loop.run_in_executor(executor, predictions_of, predictor, scores, top)
        return await loop.run_in_executor(executor, render, predictor, predictions)

    async def _read(self, predictor: Predictor, body: bytes, content_type: bytes) -> tuple[Contents, Executor | None]:
        """The pictures, not decoded yet, and where to work on them: None is here and now."""
        medium = medium_of(content_type, body)
        described = (medium, body, content_type, (*predictor.input_shape, predictor.reduced_to), self._max_pixels)
        if len(body) > INLINE_BYTES or medium is Medium.MULTIPART:
            executor = self._large if len(body) > INLINE_BYTES else self._small
            contents = await asyncio.get_running_loop().run_in_executor(executor, contents_of, *described)
            return contents, self._large if contents.pixels > INLINE_PIXELS else executor
        contents = contents_of(*described)
        if contents.pixels > INLINE_PIXELS:
            return contents, self._large
        return contents, self._small if contents.images > self._engine.batch(predictor) else None


def _next_batch(pictures: Iterator[Tensor], size: int) -> NDArray[Any] | None:
    """The next pictures, decoded, (n, height, width, channels); None after the last."""
    batch = list(islice(pictures, size))
    return np.stack(batch) if batch else None


def tune_garbage_collector() -> None:
    """Makes the garbage collector stay out of the way of requests; call it once everything is imported and built.

    A full collection walks every object that the imports left behind, tens of milliseconds in which nobody is
    answered: freezing them and collecting seldom took a JSON prediction's 99th percentile from 35 to 6 ms and gave a
    third more requests/s (a raw ASGI endpoint against plain routes, LeNet, 8 connections).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _read_headers(headers: Iterable[Header]) -> Request:
    request = Request()
    for name, value in headers:
        if name == b"content-type":
            request.content_type = value
        elif name == b"content-length":
            request.content_length = int(value) if value.isdigit() else 0
        elif name == b"x-request-id" and _SANE_ID(value):
            request.id = value.decode()
    request.id = request.id or os.urandom(16).hex()
    return request


def _refusal(error: Exception, request_id: str) -> tuple[int, list[Header], bytes]:
    status, body = problem(error, request_id)
    headers = [_PROBLEM]
    match status:
        case HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append((b"allow", b"POST"))
        case HTTPStatus.REQUEST_TIMEOUT:
            headers.append((b"connection", b"close"))
        case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.TOO_MANY_REQUESTS:
            headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
            log.warning("cannot predict now", request_id=request_id, error=body["detail"])
        case HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("unexpected error", request_id=request_id, exc_info=error)
    return int(status), headers, orjson.dumps(body)
