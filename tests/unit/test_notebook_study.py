"""The notebook as one study: its variants are the files in examples/notebook, and it fits a laptop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.recipes import RECIPES
from core.study_space import job_body, points_of
from core.studyspec import StudySpec
from core.validation import check_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDY = StudySpec.model_validate_json((EXAMPLES / "notebook-study.json").read_text(encoding="utf-8"))
FULL = STUDY.model_copy(update={"budget": None})
POINTS = {point.name: point for point in points_of(STUDY)}
DONOR = "vgg16-base"
RUNS = sorted(file.stem for file in (EXAMPLES / "notebook").glob("*.json"))
PARAMETERS = {
    "lenet": 83_976,
    "alexnet": 58_368_788,
    "vgg": 134_359_380,
    "mycnn": 21_311_956,
    "transfer": 37_622_868,
}


def body(study: StudySpec, name: str, *, stand_in: bool = False) -> dict[str, Any]:
    return job_body(study, POINTS[name], 0, stand_in=stand_in)


class TestInFull:
    def test_there_is_a_variant_for_each_file_and_a_donor(self) -> None:
        assert sorted(POINTS) == sorted([*RUNS, DONOR])
        assert len(RUNS) == 16

    @pytest.mark.parametrize("name", RUNS)
    def test_a_variant_is_the_job_of_its_file(self, name: str) -> None:
        checked = check_spec(body(FULL, name))
        file = json.loads((EXAMPLES / "notebook" / f"{name}.json").read_text(encoding="utf-8"))
        assert {**checked.document, "tags": None} == {**check_spec(file).document, "tags": None}
        assert checked.network_in(0).parameters == PARAMETERS[checked.spec.architecture.name]

    def test_the_donor_has_the_base_that_transfer_needs(self) -> None:
        donor = check_spec(body(FULL, DONOR)).spec.architecture
        assert getattr(donor, "preset", None) == "vgg16"
        assert RECIPES["vgg"].base_of(donor) == "vgg16"


class TestOnALaptop:
    @pytest.mark.parametrize("name", POINTS)
    @pytest.mark.parametrize("dataset", ["digits", "mnist"])
    def test_every_job_is_valid_and_small(self, name: str, dataset: str) -> None:
        assert STUDY.budget is not None
        budget = STUDY.budget.model_copy(update={"stand_in": dataset})
        checked = check_spec(body(STUDY.model_copy(update={"budget": budget}), name, stand_in=True))
        assert checked.spec.dataset.name == dataset
        assert checked.spec.epochs <= (budget.epochs or 0) * (2 if checked.spec.phases else 1)
        assert checked.spec.dataset.train_limit == budget.train_images

    def test_its_donor_lends_at_full_width(self) -> None:
        donor = check_spec(body(STUDY, DONOR, stand_in=True)).spec.architecture
        assert RECIPES["vgg"].base_of(donor) == "vgg16"
