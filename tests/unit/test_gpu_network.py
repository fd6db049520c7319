"""Networks on a GPU: what they are run on, and when they are refused. The GPU itself is checked by make gpu-check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import random_network
from structlog.testing import capture_logs

from core.inference import Floats, Network
from service.predictions import gpu
from service.predictions.gpu import GpuNetwork, gpu_network

SHAPE, CLASSES, BATCH = (6, 5, 3), 4, 8


class Sized(Network):
    """Knows the sizes of its runs."""

    def __init__(self, file: Path, threads: int = 1, *, gpu: bool = False) -> None:
        super().__init__(file, threads)
        self.sizes: list[int] = []
        self.asked_for_gpu = gpu

    @property
    def on_gpu(self) -> bool:
        return self.asked_for_gpu

    def logits(self, pixels: Floats) -> Floats:
        self.sizes.append(len(pixels))
        return super().logits(pixels)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    file.write_bytes(random_network(SHAPE, CLASSES))
    return file


@pytest.fixture
def pixels() -> Floats:
    return np.random.default_rng(0).uniform(0, 255, (BATCH, *SHAPE)).astype(np.float32)


@pytest.fixture
def machine_with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose GPU computes what this CPU does."""
    monkeypatch.setattr(gpu, "can_use_gpus", lambda: True)
    monkeypatch.setattr(gpu, "Network", Sized)


def test_batches_have_two_sizes(file: Path, pixels: Floats) -> None:
    one, full, plain = Sized(file), Sized(file), Network(file, threads=1)
    network = GpuNetwork(one, full, BATCH)
    for count in range(1, BATCH + 1):
        np.testing.assert_allclose(network.logits(pixels[:count]), plain.logits(pixels[:count]), rtol=1e-5)
    assert one.sizes == [1]
    assert full.sizes == [BATCH] * (BATCH - 1)


@pytest.mark.usefixtures("machine_with_gpu")
def test_a_network_that_agrees_with_the_cpu_is_warm(file: Path, pixels: Floats) -> None:
    network = gpu_network(file, BATCH, pixels[:2], Network(file, threads=1).logits(pixels[:2]))
    assert isinstance(network, GpuNetwork)
    assert isinstance(network._one, Sized)
    assert isinstance(network._full, Sized)
    assert (network._one.sizes, network._full.sizes) == ([1], [BATCH])


@pytest.mark.usefixtures("machine_with_gpu")
@pytest.mark.parametrize("row", [0, 1], ids=["one picture", "a full batch"])
@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_a_network_that_computes_something_else_is_refused(file: Path, pixels: Floats, row: int, wrong: float) -> None:
    expected = Network(file, threads=1).logits(pixels[:2])
    expected[row, 0] += wrong
    with capture_logs() as logs:
        assert gpu_network(file, BATCH, pixels[:2], expected) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]


@pytest.mark.usefixtures("machine_with_gpu")
def test_a_gpu_without_room_is_not_used(file: Path, pixels: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(file: Path, threads: int, *, gpu: bool) -> Network:
        return Network(file.with_name("missing"), threads)  # raises one of the engine's errors

    expected = Network(file, threads=1).logits(pixels[:2])
    monkeypatch.setattr(gpu, "Network", no_room)
    with capture_logs() as logs:
        assert gpu_network(file, BATCH, pixels[:2], expected) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_without_a_gpu_there_is_none(file: Path, pixels: Floats) -> None:
    assert gpu_network(file, BATCH, pixels[:2], np.zeros((2, CLASSES), np.float32)) is None
