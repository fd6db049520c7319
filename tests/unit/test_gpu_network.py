"""Networks on a GPU: what they are run on, and when they are refused. The GPU itself is checked by make gpu-check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import random_network
from structlog.testing import capture_logs

from core.artifacts import ArtifactStore
from core.inference import ENGINE_ERRORS, Floats, Network
from service.predictions import gpu, loading
from service.predictions.files import ModelFiles
from service.predictions.gpu import GpuNetwork, GpuRefused, gpu_network
from service.predictions.loading import Loader

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
def cpu(file: Path) -> Network:
    return Network(file, threads=1)


@pytest.fixture
def machine_with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose GPU computes what this CPU does."""
    monkeypatch.setattr(gpu, "Network", Sized)


@pytest.mark.parametrize("batch", [1, 2, BATCH])
def test_batches_have_two_sizes(file: Path, pixels: Floats, cpu: Network, batch: int) -> None:
    one, full = Sized(file), Sized(file)
    network = GpuNetwork(one, full, batch, lambda: cpu)
    for count in range(1, BATCH + 1):
        np.testing.assert_allclose(network.logits(pixels[:count]), cpu.logits(pixels[:count]), rtol=1e-5)
    assert set(one.sizes) == {1}
    assert set(full.sizes) == ({batch} if batch > 1 else set())
    assert network.on_gpu


@pytest.mark.usefixtures("machine_with_gpu")
@pytest.mark.parametrize("batch", [1, 2, BATCH])
def test_a_network_that_agrees_with_the_cpu_is_warm(file: Path, pixels: Floats, cpu: Network, batch: int) -> None:
    network = gpu_network(file, batch, pixels[:2], cpu.logits(pixels[:2]), lambda: cpu)
    assert isinstance(network._one, Sized)
    assert isinstance(network._full, Sized)
    assert {*network._one.sizes, *network._full.sizes} == {1, batch}


@pytest.mark.usefixtures("machine_with_gpu")
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_a_network_that_computes_something_else_is_refused(
    file: Path, pixels: Floats, cpu: Network, row: int, wrong: float
) -> None:
    expected = cpu.logits(pixels[:2])
    expected[row, 0] += wrong
    with pytest.raises(GpuRefused, match="differs"):
        gpu_network(file, BATCH, pixels[:2], expected, lambda: cpu)


def test_a_session_that_is_not_on_the_gpu_is_refused(
    file: Path, pixels: Floats, cpu: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "Network", lambda file, threads, gpu: Sized(file, threads))
    with pytest.raises(GpuRefused, match="no CUDA device"):
        gpu_network(file, BATCH, pixels[:2], cpu.logits(pixels[:2]), lambda: cpu)


def test_when_the_gpu_fails_the_cpu_goes_on(file: Path, pixels: Floats, cpu: Network) -> None:
    class Failing(Sized):
        def logits(self, pixels: Floats) -> Floats:
            raise RuntimeError("CUDA failure 999: unknown error")

    network = GpuNetwork(Failing(file), Failing(file), BATCH, lambda: cpu)
    with capture_logs() as logs:
        for _ in range(3):
            np.testing.assert_array_equal(network.logits(pixels), cpu.logits(pixels))
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert not network.on_gpu


class TestLoading:
    """Of a network that is slow enough for a GPU."""

    @pytest.fixture(autouse=True)
    def _slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loading, "GPU_FROM_SECONDS", -1.0)

    @pytest.fixture
    def loader(self, tmp_path: Path) -> Loader:
        return Loader(ModelFiles(ArtifactStore(tmp_path.as_uri()), tmp_path, 1 << 30), 1, most_in_batch=4)

    @pytest.mark.usefixtures("machine_with_gpu")
    def test_it_runs_on_the_gpu_in_batches_as_large_as_allowed(
        self, loader: Loader, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loading, "can_use_gpus", lambda: True)
        network, single, _ = loader._warm(file, SHAPE, CLASSES)
        assert isinstance(network, GpuNetwork)
        assert isinstance(network._full, Sized)
        assert set(network._full.sizes) == {4}
        assert single is None

    @pytest.mark.parametrize(
        "error", [RuntimeError("CUDA failure 100"), GpuRefused("no"), *(kind() for kind in ENGINE_ERRORS[:1])]
    )
    def test_what_the_gpu_cannot_take_the_cpu_runs(
        self, loader: Loader, file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def refuse(*_: object) -> GpuNetwork:
            raise error

        monkeypatch.setattr(loading, "can_use_gpus", lambda: True)
        monkeypatch.setattr(loading, "gpu_network", refuse)
        with capture_logs() as logs:
            network, _, _ = loader._warm(file, SHAPE, CLASSES)
        assert isinstance(network, Network)
        assert [entry["log_level"] for entry in logs] == ["warning"]

    @pytest.mark.usefixtures("machine_with_gpu")
    def test_with_the_build_for_processors_no_gpu_is_tried(
        self, loader: Loader, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loading, "can_use_gpus", lambda: False)
        network, _, _ = loader._warm(file, SHAPE, CLASSES)
        assert isinstance(network, Network)
