"""Taking in what requests hold within the process's limits, shared by all who answer predictions.

Small bodies are read on the event loop: handing them to a thread would cost more than the work. Whatever can take long
goes to threads, large bodies and large pictures apart from the rest, so that no photograph keeps others waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.types import Receive

from core.settings import Settings
from service.predictions.bodies import Bodies
from service.predictions.compression import PLAIN, ExpandsTooFarError, expand, window_bits
from service.predictions.decoding import Decoding
from service.predictions.instances import Tensor
from service.predictions.pictures import Contents
from service.raw import Request

INLINE_BYTES = 64 << 10
INLINE_PIXELS = 1 << 18
"""A picture with more pixels than this, or a body with more bytes, is left to a thread."""

INLINE_EXPANDED = 256 << 10
"""A compressed body that holds more bytes than this is left to a thread."""

WORKERS = 2
"""threads of each kind"""

P = ParamSpec("P")
T = TypeVar("T")


class Intake:
    """To be used from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.max_pixels = settings.max_image_pixels
        self.decoding = Decoding(settings.max_image_pixels)
        self.large: Executor = ThreadPoolExecutor(WORKERS, "predict-large")
        self.small: Executor = ThreadPoolExecutor(WORKERS, "predict")
        self._limit = settings.max_predict_bytes
        self._bodies = Bodies(settings.max_predict_bytes)
        self._expanding = asyncio.Lock()

    async def receive(self, receive: Receive, request: Request) -> bytes:
        """The whole body, expanded; the caller releases it.

        Raises ClientGone and HttpError: what Bodies raises, 415 for an unknown encoding, 400 for a damaged one.
        """
        body = await self._bodies.receive(receive, request.content_length)
        encoding = request.headers.get(b"content-encoding", b"")
        if encoding in PLAIN:
            return body
        try:
            return await self._expanded(body, window_bits(encoding))
        finally:
            self.release(body)

    def release(self, body: bytes) -> None:
        """The request is answered."""
        self._bodies.release(len(body))

    async def next_batch(self, contents: Contents, executor: Executor, size: int) -> NDArray[Any] | None:
        """The next pictures, decoded, (n, height, width, channels); None after the last."""
        return await asyncio.get_running_loop().run_in_executor(executor, next_batch, contents.pictures, size)

    async def work(self, body: bytes, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `read` makes of a body of that size: here and now, or on a thread when it can take long."""
        if len(body) <= INLINE_BYTES:
            return read(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.large, lambda: read(*args, **kwargs))

    def worker(self, body: bytes, contents: Contents, batch: int) -> Executor | None:
        """Where to decode the pictures of a body: None is here and now."""
        if len(body) > INLINE_BYTES or contents.pixels > INLINE_PIXELS:
            return self.large
        return self.small if contents.images > batch else None

    async def _expanded(self, body: bytes, bits: int) -> bytes:
        """Of large ones, one at a time: while it lasts, each counts as large as it may become."""
        if len(body) <= INLINE_BYTES:
            try:
                expanded = expand(body, bits, min(INLINE_EXPANDED, self._limit))
            except ExpandsTooFarError:
                pass
            else:
                self._bodies.hold(len(expanded))
                return expanded
        async with self._expanding:
            self._bodies.hold(self._limit)
            try:
                loop = asyncio.get_running_loop()
                expanded = await loop.run_in_executor(self.large, expand, body, bits, self._limit)
            except ExpandsTooFarError:
                raise self._bodies.too_large() from None
            finally:
                self._bodies.release(self._limit)
            self._bodies.hold(len(expanded))
        return expanded


def next_batch(pictures: Iterator[Tensor], size: int) -> NDArray[Any] | None:
    """The next pictures, decoded, (n, height, width, channels); None after the last."""
    batch = list(islice(pictures, size))
    return stacked(batch) if batch else None


def stacked(pictures: Sequence[Tensor]) -> NDArray[Any]:
    """(n, height, width, channels) of n pictures, at least one. A single one, the usual case, is not copied."""
    return pictures[0][None] if len(pictures) == 1 else np.stack(pictures)
