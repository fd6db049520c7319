"""The notebook's runs as job specs: all there, valid, and with its networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.splits import SplitCounts
from core.validation import check_spec

RUNS = sorted((Path(__file__).parents[2] / "examples" / "notebook").glob("*.json"))

PARAMETERS = {
    "lenet": 83_976,
    "alexnet": 58_368_788,
    "vgg": 134_359_380,
    "mycnn": 21_311_956,
    "transfer": 37_622_868,
}
EPOCHS = {
    "lenet-1": 25, "lenet-2": 25, "lenet-3": 25, "alexnet-1": 20, "alexnet-2": 20, "alexnet-3": 20, "vgg-1": 8, "vgg-2": 8,
    "vgg-3": 8, "mycnn-1": 10, "mycnn-2": 10, "mycnn-augmentation": 10, "mycnn-dropout": 10, "mycnn-early-stopping": 10,
    "transfer-frozen": 8, "transfer-fine-tuned": 16,
}  # fmt: skip


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


class TestSpecs:
    def test_there_is_one_for_each_run(self) -> None:
        assert {file.stem for file in RUNS} == EPOCHS.keys()

    @pytest.mark.parametrize("file", RUNS, ids=lambda file: file.stem)
    def test_it_is_valid_and_says_what_the_notebook_did(self, file: Path) -> None:
        checked = check_spec(read(file))
        assert checked.network.parameters == PARAMETERS[checked.spec.architecture.name]
        assert checked.spec.epochs == EPOCHS[file.stem]
        assert checked.counts == SplitCounts(8_500, 1_500, 2_000)
        assert checked.input_shape == (32, 32, 3)

    def test_fine_tuning_trains_two_blocks_of_the_base_more(self) -> None:
        checked = check_spec(read(next(file for file in RUNS if file.stem == "transfer-fine-tuned")))
        assert [checked.network_in(phase).trainable_parameters for phase in (0, 1)] == [22_891_156, 35_870_356]
