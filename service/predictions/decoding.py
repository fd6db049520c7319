"""How many pixels may wait to be decoded. A picture's bytes say little of them: 50 KB can hold 50 million."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus

from service.predictions.pictures import Contents
from service.problems import HttpError

HEAVY_PIXELS = 1 << 24
"""A picture with more, hundreds of megabytes when decoded, is decoded when no other such one is."""

PICTURES_WAITING = 8
"""as many of the largest as may be decoded or wait for it; what comes on top is refused for now."""


class Decoding:
    """Admits what is to be decoded on threads. To be used from one event loop."""

    def __init__(self, max_pixels: int) -> None:
        self._most = PICTURES_WAITING * max_pixels
        self._held = 0
        self._heavy = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, contents: Contents) -> AsyncIterator[None]:
        """Waits until the pictures may be decoded. Raises HttpError (503) when too many pixels wait already."""
        if self._held + contents.pixels > self._most:
            detail = "too many large pictures wait to be decoded; try again"
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", detail)
        self._held += contents.pixels
        try:
            async with self._heavy if contents.largest > HEAVY_PIXELS else nullcontext():
                yield
        finally:
            self._held -= contents.pixels
