"""Micro-batching: what waits for the same network is run together, and nothing waits for a batch to fill."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import LABELS, SIDE, brightness_network

from core.inference import Floats, Network
from core.objective import Direction, Objective
from service.predictions.engine import Engine
from service.predictions.gpu import GpuNetwork
from service.predictions.lane import LEAST_QUEUE, SIDE_BY_SIDE_FROM
from service.predictions.predictor import Predictor, Scores
from service.problems import HttpError

FAST, SLOW = 1e-5, 1.0


class HeldNetwork(Network):
    """Each run waits until it is let go."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, threads=1)
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.error: Exception | None = None

    def logits(self, pixels: Floats) -> Floats:
        self.begun.release()
        assert self.let_go.acquire(timeout=30)
        if self.error is not None:
            raise self.error
        return super().logits(pixels)


class Runs:
    """How many images and requests each run had."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def ran(self, predictor: Predictor, images: Any, scores: Scores, requests: int, seconds: float) -> None:
        assert len(images) == len(scores.logits) == len(scores.probabilities)
        self.sizes.append((len(images), requests))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    file.write_bytes(brightness_network())
    return file


@pytest.fixture
def held(file: Path) -> HeldNetwork:
    return HeldNetwork(file)


@pytest.fixture
def predictor(held: HeldNetwork) -> Predictor:
    return Predictor(
        name="digits.lenet",
        view="digits",
        architecture="lenet",
        version=1,
        job="job",
        sha256="0" * 64,
        labels=tuple(LABELS),
        input_shape=(SIDE, SIDE, 1),
        reduced_to=None,
        objective=Objective("val_accuracy", Direction.MAX),
        metrics={},
        network=held,
        single=None,
        seconds=SLOW,
        bytes=1,
    )


def picture(value: float, count: int = 1) -> Any:
    return np.full((count, SIDE, SIDE, 1), value, np.float32)


def bright(scores: Scores) -> list[bool]:
    return [LABELS[index] == "bright" for index in scores.logits.argmax(axis=1)]


def with_engine(
    work: Callable[[Engine, Runs], Awaitable[None]], most_in_batch: int = 32, threads: int | None = None
) -> Runs:
    runs = Runs()

    async def main() -> None:
        engine = Engine(most_in_batch, [runs], threads)
        await work(engine, runs)
        engine.close()

    asyncio.run(main())
    return runs


async def begun(held: HeldNetwork) -> None:
    assert await asyncio.to_thread(held.begun.acquire, timeout=30)


class TestSlowNetwork:
    def test_alone_it_runs_at_once_and_what_comes_meanwhile_is_the_next_batch(
        self, predictor: Predictor, held: HeldNetwork
    ) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            first = engine.score(predictor, picture(0))
            await begun(held)
            later = [engine.score(predictor, picture(value)) for value in (255, 0, 255)]
            several = engine.score(predictor, np.concatenate([picture(0), picture(255)]))
            assert engine.queued() == {predictor: 5}
            held.let_go.release(2)
            assert bright(await first) == [False]
            assert [bright(await each) for each in later] == [[True], [False], [True]]
            assert bright(await several) == [False, True]
            assert engine.queued() == {}

        assert with_engine(work).sizes == [(1, 1), (5, 4)]

    def test_a_batch_is_as_large_as_allowed_and_requests_stay_whole(
        self, predictor: Predictor, held: HeldNetwork
    ) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            first = engine.score(predictor, picture(0))
            await begun(held)
            later = [engine.score(predictor, picture(255, count)) for count in (3, 4, 8, 1)]
            held.let_go.release(4)
            for each in [first, *later]:
                await each

        assert with_engine(work, most_in_batch=8).sizes == [(1, 1), (7, 2), (8, 1), (1, 1)]

    def test_without_batching_each_request_runs_alone(self, predictor: Predictor, held: HeldNetwork) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            held.let_go.release(5)
            await asyncio.gather(*(engine.score(predictor, picture(0)) for _ in range(5)))

        assert with_engine(work, most_in_batch=1).sizes == [(1, 1)] * 5

    def test_too_much_waiting_work_is_refused(self, predictor: Predictor, held: HeldNetwork) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            first = engine.score(predictor, picture(0))
            await begun(held)
            waiting = [engine.score(predictor, picture(0)) for _ in range(LEAST_QUEUE)]
            with pytest.raises(HttpError) as refusal:
                engine.score(predictor, picture(0))
            assert (refusal.value.status, refusal.value.code) == (429, "queue_full")
            held.let_go.release(1 + len(waiting))
            await asyncio.gather(first, *waiting)
            held.let_go.release()
            await engine.score(predictor, picture(0))

        with_engine(work)

    def test_of_a_faster_one_more_may_wait(self, predictor: Predictor, held: HeldNetwork) -> None:
        faster = replace(predictor, seconds=0.01)

        async def work(engine: Engine, runs: Runs) -> None:
            first = engine.score(faster, picture(0))
            await begun(held)
            waiting = [engine.score(faster, picture(0)) for _ in range(4 * LEAST_QUEUE)]
            held.let_go.release(1 + len(waiting))
            await asyncio.gather(first, *waiting)

        with_engine(work)

    def test_an_error_reaches_all_of_its_batch_and_no_other(self, predictor: Predictor, held: HeldNetwork) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            held.error = RuntimeError("no memory")
            first = engine.score(predictor, picture(0))
            await begun(held)
            later = [engine.score(predictor, picture(255)) for _ in range(2)]
            held.let_go.release()
            with pytest.raises(RuntimeError, match="no memory"):
                await first
            await begun(held)
            held.error = None
            held.let_go.release()
            assert [bright(await each) for each in later] == [[True], [True]]

        assert with_engine(work).sizes == [(2, 2)]

    def test_one_that_nobody_waits_for_any_more_harms_nobody(self, predictor: Predictor, held: HeldNetwork) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            first = engine.score(predictor, picture(0))
            await begun(held)
            left, stays = engine.score(predictor, picture(0)), engine.score(predictor, picture(255))
            left.cancel()
            held.let_go.release(2)
            await first
            assert bright(await stays) == [True]

        with_engine(work)


def test_a_gpu_is_waited_for_on_a_thread_however_fast_it_is(predictor: Predictor, held: HeldNetwork) -> None:
    on_gpu = replace(predictor, network=GpuNetwork(held, held, predictor.batch, lambda: held), seconds=FAST)

    async def work(engine: Engine, runs: Runs) -> None:
        first = engine.score(on_gpu, picture(0))
        await begun(held)
        later = [engine.score(on_gpu, picture(value)) for value in (255, 0, 255)]
        held.let_go.release(2)
        assert bright(await first) == [False]
        assert [bright(await each) for each in later] == [[True], [False], [True]]

    assert with_engine(work).sizes == [(1, 1), (3, 3)]


class TestSideBySide:
    """`held` is the network with all threads, `single` the one with one thread a run; three of those may run at once."""

    @pytest.fixture
    def single(self, file: Path) -> HeldNetwork:
        return HeldNetwork(file)

    @pytest.fixture
    def both(self, predictor: Predictor, single: HeldNetwork) -> Predictor:
        return replace(predictor, single=single)

    def test_what_waits_is_divided_among_the_cores(
        self, both: Predictor, held: HeldNetwork, single: HeldNetwork
    ) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            first = engine.score(both, picture(0))
            await begun(held)
            later = [engine.score(both, picture(255 * (number % 2))) for number in range(SIDE_BY_SIDE_FROM + 2)]
            held.let_go.release()
            for _ in range(3):
                await begun(single)
            assert engine.queued() == {both: 0}
            single.let_go.release(3)
            assert [bright(await each) for each in [first, *later]] == [[False], *[[False], [True]] * 9]

        assert with_engine(work, threads=3).sizes == [(1, 1), (6, 6), (6, 6), (6, 6)]

    def test_together_they_run_as_many_images_as_fit_into_memory(
        self, both: Predictor, held: HeldNetwork, single: HeldNetwork
    ) -> None:
        both = replace(both, input_shape=(256, 256, 1))
        assert both.at_once == 32

        async def work(engine: Engine, runs: Runs) -> None:
            first = engine.score(both, picture(0))
            await begun(held)
            later = [engine.score(both, picture(0)) for _ in range(40)]
            held.let_go.release()
            for _ in range(3):
                await begun(single)
            assert engine.queued() == {both: 10}
            single.let_go.release(4)
            await asyncio.gather(first, *later)

        assert with_engine(work, threads=3).sizes == [(1, 1), (10, 10), (10, 10), (10, 10), (10, 10)]

    @pytest.mark.parametrize("pictures", [[1] * (SIDE_BY_SIDE_FROM - 1), [16, 16]], ids=["few", "few requests"])
    def test_too_little_for_all_cores_is_one_run(
        self, both: Predictor, held: HeldNetwork, single: HeldNetwork, pictures: list[int]
    ) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            held.let_go.release()
            await asyncio.gather(*(engine.score(both, picture(0, count)) for count in pictures))
            assert engine.queued() == {}

        assert with_engine(work, threads=3).sizes == [(sum(pictures), len(pictures))]

    def test_a_small_batch_beside_others_runs_when_no_more_comes(
        self, both: Predictor, held: HeldNetwork, single: HeldNetwork
    ) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            requests = [engine.score(both, picture(0)) for _ in range(30)]
            for _ in range(3):
                await begun(single)
            single.let_go.release()
            await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            requests += [engine.score(both, picture(0)) for _ in range(2)]
            await begun(single)  # though the others go on
            single.let_go.release(3)
            await asyncio.gather(*requests)

        sizes = with_engine(work, threads=3).sizes
        assert sizes[0] == (10, 10)
        assert sorted(sizes) == [(2, 2), (10, 10), (10, 10), (10, 10)]

    def test_an_error_reaches_its_own_run_alone(self, both: Predictor, held: HeldNetwork, single: HeldNetwork) -> None:
        async def work(engine: Engine, runs: Runs) -> None:
            single.error = RuntimeError("no memory")
            requests = [engine.score(both, picture(255)) for _ in range(30)]
            for _ in range(3):
                await begun(single)
            single.let_go.release()
            failed, others = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            while len(failed) < 10:
                failed, others = await asyncio.wait(requests, timeout=0.01)
            assert {str(each.exception()) for each in failed} == {"no memory"}
            single.error = None
            single.let_go.release(2)
            assert [bright(await each) for each in others] == [[True]] * 20

        assert with_engine(work, threads=3).sizes == [(10, 10), (10, 10)]

    @pytest.mark.parametrize("divided", [False, True], ids=["the machine's", "a part of it"])
    def test_each_keeps_to_a_core_unless_the_machine_is_divided(
        self, file: Path, predictor: Predictor, held: HeldNetwork, divided: bool
    ) -> None:
        allowed = os.sched_getaffinity(0)
        seen: list[set[int]] = []

        class Watched(HeldNetwork):
            def logits(self, pixels: Floats) -> Floats:
                seen.append(os.sched_getaffinity(0))
                return super().logits(pixels)

        both = replace(predictor, single=(single := Watched(file)))
        count = len(allowed) + divided

        async def work(engine: Engine, runs: Runs) -> None:
            requests = [engine.score(both, picture(0)) for _ in range(4 * SIDE_BY_SIDE_FROM)]
            for _ in range(count):
                await begun(single)
            single.let_go.release(len(requests))
            held.let_go.release()  # for what did not fit into the runs
            await asyncio.gather(*requests)

        with_engine(work, most_in_batch=64, threads=count)
        assert set(map(frozenset, seen)) == (
            {frozenset(allowed)} if divided else {frozenset({core}) for core in allowed}
        )
        assert os.sched_getaffinity(0) == allowed


class TestFastNetwork:
    def test_requests_of_one_turn_share_a_run(self, predictor: Predictor, held: HeldNetwork) -> None:
        fast = replace(predictor, seconds=FAST)

        async def work(engine: Engine, runs: Runs) -> None:
            held.let_go.release(2)
            scores = await asyncio.gather(*(engine.score(fast, picture(value)) for value in (0, 255, 0)))
            assert [bright(each) for each in scores] == [[False], [True], [False]]
            assert bright(await engine.score(fast, picture(255))) == [True]

        assert with_engine(work).sizes == [(3, 3), (1, 1)]

    def test_an_error_reaches_all_of_the_run(self, predictor: Predictor, held: HeldNetwork) -> None:
        fast = replace(predictor, seconds=FAST)

        async def work(engine: Engine, runs: Runs) -> None:
            held.error = RuntimeError("broken")
            held.let_go.release()
            results = await asyncio.gather(*(engine.score(fast, picture(0)) for _ in range(2)), return_exceptions=True)
            assert [str(each) for each in results] == ["broken", "broken"]

        with_engine(work)
