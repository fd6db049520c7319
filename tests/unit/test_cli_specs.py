"""From options to a job spec."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.failures import CommandFailed
from cli.specs import build_spec, read_spec


class TestBuildSpec:
    def test_options_that_are_not_given_are_left_to_the_server(self) -> None:
        spec = build_spec({"/architecture": "lenet", "/dataset": "digits", "/epochs": None})
        assert spec == {"architecture": "lenet", "dataset": "digits"}

    def test_a_name_becomes_an_object_when_something_is_set_in_it(self) -> None:
        spec = build_spec({"/optimizer": "sgd", "/optimizer/learning_rate": 0.1, "/dataset": "digits"})
        assert spec == {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "dataset": "digits"}

    @pytest.mark.parametrize("path", ["optimizer.momentum", "/optimizer/momentum"])
    def test_changes_take_dots_and_pointers(self, path: str) -> None:
        spec = build_spec({"/optimizer": "sgd"}, changes=[f"{path}=0.9"])
        assert spec == {"optimizer": {"name": "sgd", "momentum": 0.9}}

    def test_a_name_set_after_its_fields_keeps_them(self) -> None:
        spec = build_spec({}, changes=["optimizer.momentum=0.9", "optimizer=sgd"])
        assert spec == {"optimizer": {"name": "sgd", "momentum": 0.9}}

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("3", 3),
            ("1e-4", 1e-4),
            ("true", True),
            ("null", None),
            ('["a","b"]', ["a", "b"]),
            ("last", "last"),
            ("NaN", "NaN"),
            ("a=b", "a=b"),
        ],
    )
    def test_values_are_json_where_they_can_be(self, text: str, value: Any) -> None:
        assert build_spec({}, changes=[f"field={text}"]) == {"field": value}

    def test_tags_are_text(self) -> None:
        assert build_spec({}, tags=["course=cv", "year=2026"]) == {"tags": {"course": "cv", "year": "2026"}}

    def test_a_pointer_may_hold_escaped_characters(self) -> None:
        assert build_spec({}, changes=["/tags/a~1b=x"]) == {"tags": {"a/b": "x"}}

    @pytest.mark.parametrize("change", ["epochs", "=3", ".=3", "a..b=3", "/=3"])
    def test_a_change_that_cannot_be_read_is_invalid_input(self, change: str) -> None:
        with pytest.raises(CommandFailed) as caught:
            build_spec({}, changes=[change])
        assert caught.value.exit_code == 2

    def test_a_path_through_a_number_is_invalid_input(self) -> None:
        with pytest.raises(CommandFailed, match="epochs is not an object"):
            build_spec({"/epochs": 3}, changes=["epochs.more=1"])


class TestReadSpec:
    def test_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "spec.json"
        file.write_text(json.dumps({"dataset": "digits"}), encoding="utf-8")
        assert read_spec(str(file)) == {"dataset": "digits"}

    def test_from_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO('{"dataset": "digits"}'))
        assert read_spec("-") == {"dataset": "digits"}

    @pytest.mark.parametrize("text", ["{", "[1]", '{"epochs": NaN}'])
    def test_what_is_no_object_is_invalid_input(self, text: str, tmp_path: Path) -> None:
        file = tmp_path / "spec.json"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(CommandFailed) as caught:
            read_spec(str(file))
        assert caught.value.exit_code == 2

    def test_a_missing_file_is_invalid_input(self, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match="no such file"):
            read_spec(str(tmp_path / "none.json"))
