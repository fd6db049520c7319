"""Runs networks for all who ask: what waits for the same network at the same time shares its runs.

Nothing that could run alone is held back to fill a batch. A fast network runs on the event loop when the loop has handed out what it read: a
thread would cost more than the work, and eight requests at once cost two thirds of eight runs, because weights and code
stay in the processor's caches. A slow one has a lane, whose runs go on threads. So an idle service answers at once, and
the busier it is, the larger its batches. Batches of other sizes round differently: the same picture's probabilities can
differ by some 1e-7.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from service.predictions.lane import Lane, Observer
from service.predictions.predictor import TURN_SECONDS, Predictor, Scores
from service.predictions.threads import RunThreads
from service.predictions.waiting import Waiting, fail, hand_out, together


class Turn:
    """What came for a fast network in a turn of the event loop, or in a part of it."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.images = 0

    def add(self, waiting: Waiting) -> None:
        self.waiting.append(waiting)
        self.images += len(waiting.images)


class Engine:
    """To be used from one event loop."""

    def __init__(self, most_in_batch: int, observers: Sequence[Observer] = (), threads: int | None = None) -> None:
        """`threads`: on so many cores at once, by default on all."""
        self._most_in_batch = most_in_batch
        self._observers = observers
        self._turns: dict[Predictor, Turn] = {}
        self._lanes: dict[Predictor, Lane] = {}
        self._threads = RunThreads(threads)

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
        if predictor.slow or len(images) * predictor.seconds > TURN_SECONDS:
            lane = self._lanes.get(predictor)
            if lane is None:
                lane = self._lanes[predictor] = Lane(predictor, self.batch(predictor), self._threads, self)
            lane.add(waiting)
        else:
            self._join_turn(predictor, waiting, loop)
        return waiting.future

    def ran(self, predictor: Predictor, images: NDArray[Any], scores: Scores, requests: int, seconds: float) -> None:
        """Tells the observers of a run."""
        for observer in self._observers:
            observer.ran(predictor, images, scores, requests, seconds)

    def emptied(self, predictor: Predictor) -> None:
        """Forgets the network's lane: its memory is free once nothing else holds it."""
        del self._lanes[predictor]

    def close(self) -> None:
        """Waits for runs under way."""
        self._threads.close()

    def _join_turn(self, predictor: Predictor, waiting: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        batch = self.batch(predictor)
        turn = self._turns.get(predictor)
        if turn is not None and turn.images + len(waiting.images) > batch:
            self._run_turn(predictor)
            turn = None
        if turn is None:
            turn = self._turns[predictor] = Turn()
            loop.call_soon(loop.call_soon, self._run_turn, predictor)
        turn.add(waiting)
        if turn.images * predictor.seconds >= TURN_SECONDS or turn.images >= batch:
            self._run_turn(predictor)

    def _run_turn(self, predictor: Predictor) -> None:
        turn = self._turns.pop(predictor, None)
        if turn is None:
            return
        images = together(turn.waiting)
        started = time.perf_counter()
        try:
            scores = predictor.score(images)
        except Exception as error:  # noqa: BLE001  (handed to all who wait for this run)
            fail(turn.waiting, error)
            return
        self.ran(predictor, images, scores, len(turn.waiting), time.perf_counter() - started)
        hand_out(turn.waiting, scores)
