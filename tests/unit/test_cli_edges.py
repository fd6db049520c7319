"""What a person sees of odd specs, of the help and of the end of a training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.failures import CommandFailed
from cli.history import History
from cli.specs import build_spec, read_spec
from cli.train import train
from client import Event
from core.jobspec import JobSpec


class TestDeepSpecs:
    @pytest.mark.parametrize("depth", [65, 900, 100_000])
    def test_they_are_invalid_input(self, depth: int, tmp_path: Path) -> None:
        text = '{"tags": ' + "[" * depth + "]" * depth + "}"
        file = tmp_path / "deep.json"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(CommandFailed, match="nested too deeply") as caught:
            read_spec(str(file))
        assert caught.value.exit_code == 2

    def test_so_are_deep_values(self) -> None:
        with pytest.raises(CommandFailed, match="nested too deeply"):
            build_spec({}, changes=["tags=" + "[" * 100_000 + "]" * 100_000])

    def test_what_a_spec_may_need_passes(self, tmp_path: Path) -> None:
        file = tmp_path / "spec.json"
        file.write_text(json.dumps({"a": [[[{"b": [[[1]]]}]]]}), encoding="utf-8")
        assert read_spec(str(file))


class TestHelp:
    def test_the_examples_of_set_need_nothing_else(self) -> None:
        examples = re.findall(r"[\w./]+=[\d.]+", str(train.__doc__))
        assert len(examples) == 2
        for example in examples:
            spec = build_spec({"/architecture": "lenet", "/dataset": "digits"}, changes=[example])
            assert JobSpec.model_validate(spec).dataset.train_limit == 500


def epoch(number: int) -> Event:
    metrics = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "images_per_second"), 0.5)
    return Event(str(number), "epoch", {**metrics, "epoch": number, "seconds": 2.0, "attempt": 1})


def progress(number: int, eta_seconds: float | None) -> Event:
    data = {"epoch": number, "epochs": 3, "step": 5, "steps": 10, "eta_seconds": eta_seconds}
    return Event(None, "progress", data)


class TestTimeLeft:
    @pytest.mark.parametrize(
        ("events", "seconds"),
        [
            ([], None),
            ([progress(1, 9.0)], 9.0),
            ([progress(1, 9.0), epoch(1)], 4.0),
            ([epoch(1), progress(2, 3.5)], 3.5),
            ([progress(1, 9.0), epoch(1), epoch(2), epoch(3)], 0.0),
            ([progress(3, 1.7), epoch(3)], 0.0),
            ([epoch(3), progress(3, 1.7)], 0.0),
            ([epoch(2), progress(1, 5.0)], 5.0),
        ],
        ids=[
            "nothing known",
            "the server's estimate",
            "an epoch later",
            "a newer estimate",
            "epochs faster than estimates",
            "the last epoch",
            "an estimate that comes late",
            "another attempt",
        ],
    )
    def test_it_is_never_of_an_epoch_that_has_ended(self, events: list[Event], seconds: float | None) -> None:
        history = History()
        for event in events:
            history = history.after(event)
        assert history.eta_seconds(3) == seconds
