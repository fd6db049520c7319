"""Runs networks for all who ask: one run for all pictures that wait for the same network.

Nothing is held back to fill a batch. A fast network runs on the event loop when the loop has handed out what it read: a
thread would cost more than the work, and eight requests at once cost two thirds of eight runs, because weights and code
stay in the processor's caches. A slow one runs on a thread; whatever arrives meanwhile is its next batch. So an idle
service answers at once, and the busier it is, the larger its batches. Batches of other sizes round differently: the
same picture's probabilities can differ by some 1e-7.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.predictions.predictor import SLOW_SECONDS, Predictor, Scores
from service.problems import HttpError

LONGEST_QUEUE_SECONDS = 5.0
"""as much work as may wait for one network, reckoned from what one image took; what comes on top is refused for now"""

LEAST_QUEUE = 64
"""images that may wait for a network, however slow it is"""


RUNS_AT_ONCE = 4
"""of different networks; each has threads of its own for the work itself"""


class Observer(Protocol):
    """Is told of each run, on the event loop."""

    def ran(self, predictor: Predictor, images: NDArray[Any], scores: Scores, requests: int, seconds: float) -> None:
        """`images` (n, height, width, channels) of so many requests were run at once."""


class Waiting(NamedTuple):
    """Pictures of one request that wait for their run."""

    images: NDArray[Any]
    future: asyncio.Future[Scores]


class Lane:
    """The queue of one network's runs on threads, of which there is one at a time."""

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.images = 0
        """how many wait"""
        self.running = False


class Engine:
    """To be used from one event loop."""

    def __init__(self, most_in_batch: int, observers: Sequence[Observer] = ()) -> None:
        self._most_in_batch = most_in_batch
        self._observers = observers
        self._turns: dict[Predictor, list[Waiting]] = {}
        self._lanes: dict[Predictor, Lane] = {}
        self._threads = ThreadPoolExecutor(RUNS_AT_ONCE, "predict-run")

    def batch(self, predictor: Predictor) -> int:
        """How many images to run at once, at most."""
        return min(predictor.batch, self._most_in_batch)

    def queued(self) -> dict[Predictor, int]:
        """Images that wait for a network, for each that any wait for."""
        return {predictor: lane.images for predictor, lane in self._lanes.items()}

    def score(self, predictor: Predictor, images: NDArray[Any]) -> asyncio.Future[Scores]:
        """Of pixels 0-255, (n, height, width, channels), n at most `batch`. Raises HttpError (429) when too many wait."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(images, loop.create_future())
        if len(images) * predictor.seconds > SLOW_SECONDS:
            self._queue(predictor, waiting, loop)
        else:
            self._join_turn(predictor, waiting, loop)
        return waiting.future

    def close(self) -> None:
        """Waits for runs under way."""
        self._threads.shutdown()

    def _join_turn(self, predictor: Predictor, waiting: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        turn = self._turns.get(predictor)
        if turn is None:
            turn = self._turns[predictor] = []
            loop.call_soon(loop.call_soon, self._run_turn, predictor)
        turn.append(waiting)
        if len(turn) * predictor.seconds >= SLOW_SECONDS or len(turn) >= self.batch(predictor):
            self._run_turn(predictor)

    def _run_turn(self, predictor: Predictor) -> None:
        turn = self._turns.pop(predictor, [])
        if not turn:
            return
        images = _together(turn)
        started = time.perf_counter()
        try:
            scores = predictor.score(images)
        except Exception as error:  # noqa: BLE001  (handed to all who wait for this run)
            _fail(turn, error)
            return
        self._tell(predictor, images, scores, len(turn), time.perf_counter() - started)
        _hand_out(turn, scores)

    def _queue(self, predictor: Predictor, waiting: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        lane = self._lanes.get(predictor)
        if lane is None:
            lane = self._lanes[predictor] = Lane()
        seconds = lane.images * predictor.seconds
        if lane.images + len(waiting.images) > LEAST_QUEUE and seconds > LONGEST_QUEUE_SECONDS:
            detail = f"{lane.images} images wait for {predictor.name} already; try again"
            raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", detail)
        lane.waiting.append(waiting)
        lane.images += len(waiting.images)
        if not lane.running:
            lane.running = True
            loop.call_soon(loop.call_soon, self._start_run, predictor, lane)

    def _start_run(self, predictor: Predictor, lane: Lane) -> None:
        batch = self._take(predictor, lane)
        images = _together(batch)
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor(self._threads, _timed, predictor, images)
        run.add_done_callback(lambda done: self._end_run(predictor, lane, batch, images, done))

    def _take(self, predictor: Predictor, lane: Lane) -> list[Waiting]:
        most = self.batch(predictor)
        batch = [lane.waiting.popleft()]
        size = len(batch[0].images)
        while lane.waiting and size + len(lane.waiting[0].images) <= most:
            batch.append(lane.waiting.popleft())
            size += len(batch[-1].images)
        lane.images -= size
        return batch

    def _end_run(
        self,
        predictor: Predictor,
        lane: Lane,
        batch: list[Waiting],
        images: NDArray[Any],
        done: asyncio.Future[tuple[Scores, float]],
    ) -> None:
        if lane.waiting:  # before the answers: the network should not wait for them
            self._start_run(predictor, lane)
        else:
            del self._lanes[predictor]
        error = done.exception()
        if error is not None:
            _fail(batch, error)
            return
        scores, seconds = done.result()
        self._tell(predictor, images, scores, len(batch), seconds)
        _hand_out(batch, scores)

    def _tell(self, predictor: Predictor, images: NDArray[Any], scores: Scores, requests: int, seconds: float) -> None:
        for observer in self._observers:
            observer.ran(predictor, images, scores, requests, seconds)


def _timed(predictor: Predictor, images: NDArray[Any]) -> tuple[Scores, float]:
    started = time.perf_counter()
    scores = predictor.score(images)
    return scores, time.perf_counter() - started


def _together(batch: list[Waiting]) -> NDArray[Any]:
    return batch[0].images if len(batch) == 1 else np.concatenate([waiting.images for waiting in batch])


def _hand_out(batch: list[Waiting], scores: Scores) -> None:
    start = 0
    for waiting in batch:
        end = start + len(waiting.images)
        if not waiting.future.done():
            waiting.future.set_result(Scores(scores.logits[start:end], scores.probabilities[start:end]))
        start = end


def _fail(batch: list[Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
