"""What both protocols share: networks are asked, and whatever goes wrong is answered with {"error": …}."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.types import Scope

from core.errors import DatasetRequired, Fault, InvalidInput
from service.monitoring.recorder import Recorder
from service.predictions.catalogue import Catalogue
from service.predictions.compression import LEAST_BYTES, accepted, compress
from service.predictions.engine import Engine
from service.predictions.intake import INLINE_BYTES, Intake, stacked
from service.predictions.pictures import Contents
from service.predictions.predictor import Predictor, Scores
from service.problems import HttpError
from service.protocols.names import Target
from service.raw import JSON, Answer, MethodNotAllowed, RawApp, Refusal, Request

Images = NDArray[Any] | Contents
"""What a request holds: pixels 0-255 as the network takes them, (n, height, width, channels), or what has to be made so."""

DOCUMENT_FAULTS = 5
"""as many are told"""


class ProtocolApp(RawApp):
    """One protocol."""

    def __init__(self, catalogue: Catalogue, engine: Engine, intake: Intake, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._catalogue = catalogue
        self._engine = engine
        self._intake = intake

    def _refused(self, error: Exception, refusal: Refusal) -> Answer:
        status = refusal.status
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:  # the protocols know no other word for bad input
            status = HTTPStatus.BAD_REQUEST
        faults = error.faults if isinstance(error, InvalidInput) else ()
        told = _told(refusal.problem["detail"], faults)
        return Answer(render({"error": told}), [*refusal.headers, JSON], status)

    async def _resolve(self, target: Target) -> Predictor:
        """Raises what the catalogue raises."""
        try:
            return await self._catalogue.resolve(target.architecture, target.query)
        except DatasetRequired:
            detail = (
                f"several datasets have a model of {target.name!r}; name it with its dataset: <dataset>.{target.name}"
            )
            raise HttpError(HTTPStatus.CONFLICT, DatasetRequired.code, detail) from None

    async def _score(self, predictor: Predictor, images: Images, body: bytes) -> Scores:
        """Of all images of that body, in batches where they are many."""
        size = self._engine.batch(predictor)
        if isinstance(images, np.ndarray):
            if len(images) <= size:
                return await self._engine.score(predictor, images)
            starts = range(0, len(images), size)
            return _joined([await self._engine.score(predictor, images[start : start + size]) for start in starts])
        executor = self._intake.worker(body, images, size)
        if executor is None:
            return await self._engine.score(predictor, stacked(list(images.pictures)))
        parts: list[Scores] = []
        async with self._intake.decoding.turn(images):
            while (batch := await self._intake.next_batch(images, executor, size)) is not None:
                parts.append(await self._engine.score(predictor, batch))
        return _joined(parts)


async def compressed(reply: Answer, request: Request) -> Answer:
    """As the client's Accept-Encoding asks for, unless it is small."""
    asked = request.headers.get(b"accept-encoding")
    encoding = accepted(asked) if asked else b""
    if not encoding or len(reply.content) < LEAST_BYTES:
        return reply
    if len(reply.content) <= INLINE_BYTES:
        content = compress(reply.content, encoding)
    else:
        content = await asyncio.to_thread(compress, reply.content, encoding)
    return Answer(content, (*reply.headers, (b"content-encoding", encoding), (b"vary", b"accept-encoding")))


def only(scope: Scope, method: str) -> None:
    """Raises MethodNotAllowed. HEAD is GET without the body."""
    given = scope["method"]
    if given != method and (given, method) != ("HEAD", "GET"):
        raise MethodNotAllowed(scope["path"], given, method)


def nothing_at(path: str) -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is nothing at {path}")


def unusable(detail: str) -> HttpError:
    """A request that breaks the protocol."""
    return HttpError(HTTPStatus.BAD_REQUEST, "invalid_input", detail)


def render(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _told(detail: str, faults: Sequence[Fault]) -> str:
    """With the faults that it does not name itself: the protocols have no place for them."""
    others = [f"{fault.pointer.lstrip('/')} {fault.detail}" for fault in faults if fault.detail not in detail]
    return "; ".join((detail, *others[:DOCUMENT_FAULTS]))
