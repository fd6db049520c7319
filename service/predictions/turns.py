"""One run of the network for all pictures that arrive in the same turn of the event loop.

Nothing is held back to fill a batch: a run starts when the loop has handed out what it read. Alone, a request pays a
few microseconds for this; eight at once cost two thirds of eight runs, because weights and code stay in the
processor's caches. Batches of other sizes round differently: the same picture's probabilities can differ by some 1e-7.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.predictions.predictor import SLOW_SECONDS, Predictor, Ranking


class Turns:
    """Gathers pictures by predictor. To be used from one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[Predictor, list[tuple[NDArray[Any], asyncio.Future[Ranking]]]] = {}

    def rank(self, predictor: Predictor, images: NDArray[Any]) -> asyncio.Future[Ranking]:
        """The ranking of `images`, (n, height, width, channels), at the end of this turn."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ranking] = loop.create_future()
        waiting = self._waiting.get(predictor)
        if waiting is None:
            waiting = self._waiting[predictor] = []
            loop.call_soon(loop.call_soon, self._run, predictor)
        waiting.append((images, future))
        if len(waiting) * predictor.seconds >= SLOW_SECONDS or len(waiting) >= predictor.batch:
            self._run(predictor)
        return future

    def _run(self, predictor: Predictor) -> None:
        waiting = self._waiting.pop(predictor, [])
        if not waiting:
            return
        try:
            ranking = predictor.rank(np.concatenate([images for images, _ in waiting]))
        except Exception as error:  # noqa: BLE001  (handed to all who wait for this run)
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for images, future in waiting:
            end = start + len(images)
            if not future.done():
                future.set_result(Ranking(ranking.order[start:end], ranking.probabilities[start:end]))
            start = end
