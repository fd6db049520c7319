"""The queue of one network that is too slow for the event loop: which pictures are run when, and on how many cores.

A run with all threads answers a few pictures soonest: MyCNN takes 2.8 ms for one with two threads, 4.3 with one. Of many it
wastes some, because threads wait for one another in each layer: 64 pictures take 46 ms in one run, 40 as two runs of one
thread each. So where little waits, one run takes it all; where more does, runs of one thread go side by side.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any, Protocol

from numpy.typing import NDArray

from service.predictions.predictor import Predictor, Scores
from service.predictions.threads import MOST_THREADS, RunThreads
from service.predictions.waiting import Waiting, fail, hand_out, together
from service.problems import HttpError

LONGEST_QUEUE_SECONDS = 5.0
"""as much work as may wait for one network, reckoned from what one image took; what comes on top is refused for now"""

LEAST_QUEUE = 64
"""images that may wait for a network, however slow it is"""

SIDE_BY_SIDE_FROM = 16
"""images that wait; fewer are answered sooner by one run with all threads"""

LULL_SECONDS = 0.001
"""While other runs go on, a small batch grows until nothing has come for so long: clients that were just answered ask again."""


class Observer(Protocol):
    """Is told of each run, on the event loop."""

    def ran(self, predictor: Predictor, images: NDArray[Any], scores: Scores, requests: int, seconds: float) -> None:
        """`images` (n, height, width, channels) of so many requests were run at once."""


class Owner(Observer, Protocol):
    """Is told of the lane's end as well."""

    def emptied(self, predictor: Predictor) -> None:
        """Nothing waits for it or runs any more."""


class Lane:
    """All that waits for one network, and its runs. To be used from one event loop."""

    def __init__(self, predictor: Predictor, most_in_batch: int, threads: RunThreads, owner: Owner) -> None:
        self._predictor = predictor
        self._most = most_in_batch
        self._side_by_side = min(threads.cores, predictor.at_once) if predictor.single is not None else 0
        self._share = min(most_in_batch, predictor.at_once // max(1, self._side_by_side))
        self._threads = threads
        self._owner = owner
        self._waiting: deque[Waiting] = deque()
        self.images = 0
        """how many wait"""
        self._beside = 0
        """runs of one thread under way"""
        self._running = 0
        """images in runs under way"""
        self._wide = False
        """whether a run with all threads is under way: it is alone"""
        self._looking = False
        """whether a look is due"""

    def add(self, waiting: Waiting) -> None:
        """Raises HttpError (429) when too many wait."""
        seconds = self.images * self._predictor.seconds
        if self.images + len(waiting.images) > LEAST_QUEUE and seconds > LONGEST_QUEUE_SECONDS:
            detail = f"{self.images} images wait for {self._predictor.name} already; try again"
            raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", detail)
        self._waiting.append(waiting)
        self.images += len(waiting.images)
        if not self._looking:
            self._looking = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._look, 0)  # when the loop has handed out what it read

    def _look(self, before: int = 0) -> None:
        """Starts what is due. `before`: how many images waited at the look before, if that put it off."""
        self._looking = False
        if self._wide or not self._waiting:
            return
        if not self._beside and not self._is_much():
            self._wide = True
            self._start(self._most, self._predictor.score, self._threads.wide)
            return
        while self._waiting and self._beside < self._side_by_side:
            if self._may_grow(before):
                self._looking = True
                asyncio.get_running_loop().call_later(LULL_SECONDS, self._look, self.images)
                return
            even = -(-self.images // (self._side_by_side - self._beside))
            self._beside += 1
            self._start(min(even, self._share), self._predictor.score_single, self._threads.beside)

    def _is_much(self) -> bool:
        """Whether it occupies more cores than one run would. Requests are not divided."""
        requests = min(self._side_by_side, MOST_THREADS)
        return self._side_by_side > 0 and self.images >= SIDE_BY_SIDE_FROM and len(self._waiting) >= requests

    def _may_grow(self, before: int) -> bool:
        """Whether a batch is small beside those under way and more keeps coming."""
        even = (self.images + self._running) / self._side_by_side
        return self._beside > 0 and self.images < even / 2 and self.images != before

    def _start(self, most: int, score: Callable[[NDArray[Any]], Scores], executor: Executor) -> None:
        batch = self._take(most)
        images = together(batch)
        self._running += len(images)
        run = asyncio.get_running_loop().run_in_executor(executor, _timed, score, images)
        run.add_done_callback(lambda done: self._end(batch, images, done))

    def _take(self, most: int) -> list[Waiting]:
        batch = [self._waiting.popleft()]
        size = len(batch[0].images)
        while self._waiting and size + len(self._waiting[0].images) <= most:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].images)
        self.images -= size
        return batch

    def _end(self, batch: list[Waiting], images: NDArray[Any], done: asyncio.Future[tuple[Scores, float]]) -> None:
        self._running -= len(images)
        if self._wide:
            self._wide = False
        else:
            self._beside -= 1
        if not self._looking:
            self._look()  # before the answers: the network should not wait for them
        if not (self._waiting or self._running):
            self._owner.emptied(self._predictor)
        error = done.exception()
        if error is not None:
            fail(batch, error)
            return
        scores, seconds = done.result()
        self._owner.ran(self._predictor, images, scores, len(batch), seconds)
        hand_out(batch, scores)


def _timed(score: Callable[[NDArray[Any]], Scores], images: NDArray[Any]) -> tuple[Scores, float]:
    started = time.perf_counter()
    scores = score(images)
    return scores, time.perf_counter() - started
