"""All sixteen runs of the notebook, trained to the end for one epoch of digits at 32x32x3: minutes together, so `long`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from laboratory import Laboratory

RUNS = sorted((Path(__file__).parents[2] / "examples" / "notebook").glob("*.json"))
DIGITS = {"name": "digits", "image_size": 32, "color": "rgb", "train_limit": 256}

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def donor(lab: Laboratory) -> str:
    """A job that trained the base that the transfer runs start with."""
    architecture = {"name": "transfer", "head": "average", "weights": "none", "frozen": False}
    return lab.train(dataset=DIGITS, architecture=architecture, optimizer="sgd", epochs=1)


def one_epoch(spec: dict[str, Any]) -> dict[str, Any]:
    """The same run on digits, each of its phases for one epoch."""
    shorter = {**spec, "dataset": DIGITS}
    if "phases" in spec:
        return {**shorter, "phases": [{**phase, "epochs": 1} for phase in spec["phases"]]}
    return {**shorter, "epochs": 1}


class TestRuns:
    @pytest.mark.parametrize("file", RUNS, ids=lambda file: file.stem)
    def test_it_trains_to_the_end(self, lab: Laboratory, request: pytest.FixtureRequest, file: Path) -> None:
        spec = one_epoch(json.loads(file.read_text(encoding="utf-8")))
        if file.stem.startswith("transfer"):
            spec["architecture"]["weights"] = {"job": request.getfixturevalue("donor")}
        job = lab.train(**spec)
        assert len(lab.history(job)) == len(spec.get("phases", [0]))
        parity = lab.version(job).parity
        assert parity["max_difference"] <= parity["tolerance"]


class TestLossesThatTheNotebookFedWrongly:
    """MAE and Poisson on integer labels stayed at chance there."""

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize(("loss", "accuracy"), [("poisson", 0.9), ("mean_absolute_error", 0.5)])
    def test_they_learn(self, lab: Laboratory, loss: str, accuracy: float, seed: int) -> None:
        job = lab.train(architecture="lenet", optimizer="adam", loss=loss, epochs=25, seed=seed)
        evaluation = lab.row(job).evaluation
        assert evaluation is not None
        assert evaluation["test_accuracy"] >= accuracy
