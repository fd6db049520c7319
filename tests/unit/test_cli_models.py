"""`kerasd models`, `model`, `promote`, `rollback`, `unpin` and `gate`, against a small real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fakes import MODELS, FakeServer, Reply, fake_server, model, model_card, model_version, problem

from cli.main import run

LENET = f"{MODELS}/digits.lenet"
Printed = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with fake_server() as server:
        monkeypatch.setenv("KERASD_URL", server.url)
        server.on(f"GET {LENET}", Reply(model()))
        server.on(f"GET {LENET}/versions/2", Reply(model_version(2, card=model_card())))
        yield server


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


class TestModels:
    def test_a_table(self, fake: FakeServer, capsys: Printed) -> None:
        items = [
            model_version(2, pinned=True, versions=3),
            model_version(1, name="digits.vgg", pinned=False, versions=1, metrics={"val_accuracy": None}),
        ]
        fake.on(f"GET {MODELS}", Reply({"items": items}))
        assert run(["models"]) == 0
        lines = words(capsys.readouterr().out)
        assert "name best pinned metric value test accuracy versions published" in lines
        assert any(line.startswith("digits.lenet 2 pinned val_accuracy 0.912 0.905 3 ") for line in lines)
        assert any(line.startswith("digits.vgg 1 val_accuracy - - 1 ") for line in lines)

    def test_nothing_is_said(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {MODELS}", Reply({"items": []}))
        assert run(["models"]) == 0
        assert capsys.readouterr().out == "no models\n"

    def test_json(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {MODELS}", Reply({"items": [model_version(2, pinned=True, versions=3)]}))
        assert run(["models", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["versions"] == 3


class TestModel:
    def test_versions_and_the_card_in_short(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["model", "digits.lenet"]) == 0
        lines = words(capsys.readouterr().out)
        assert lines[0] == "digits.lenet version 2 serves, chosen by the rules"
        assert any(line.startswith("3 0.500 - - job3 ") for line in lines)
        assert any(line.startswith("2 serves 0.912 0.310 0.905 job2 ") for line in lines)
        assert "data digits, 0123456789ab" in lines
        assert "size 82,826 parameters, 334.0 kB as ONNX" in lines
        assert "latency 0.0431 ms for one image, 0.652 ms for 32 (2 threads)" in lines
        assert "trained job job2, attempt 1, spec fedcba987654" in lines

    def test_what_holds_the_choice_is_said(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {LENET}", Reply(model(pinned=True, margin=0.01)))
        assert run(["model", "digits.lenet"]) == 0
        first = words(capsys.readouterr().out)[0]
        assert first.endswith("version 2 serves, pinned; a new one must beat it by more than 0.01")

    def test_labels_cannot_steer_the_terminal(self, fake: FakeServer, capsys: Printed) -> None:
        donor = {"job": "a1", "model": "digits.vgg", "version": 4}
        lineage = {**model_card()["lineage"], "donor": donor}
        older = model_card(latency=None, sizes={"parameters": None, "onnx_bytes": 1000}, lineage=lineage)
        labels = ["\x1b[31mred", *map(str, range(20))]
        fake.on(f"GET {LENET}/versions/2", Reply(model_version(2, labels=labels, card=older)))
        assert run(["model", "digits.lenet"]) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "21: \\x1b[31mred, 0, 1" in shown
        assert "and 11 more" in shown
        assert "not measured" in shown
        assert "started from digits.vgg version 4" in words(shown)

    def test_json_has_the_card(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["model", "digits.lenet", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["card"]["sizes"]["parameters"] == 82826

    def test_an_unknown_one_is_exit_code_2(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {LENET}", problem(404, "model_not_found", "there is no model 'digits.lenet'"))
        assert run(["model", "digits.lenet"]) == 2
        assert "there is no model" in capsys.readouterr().err


class TestChanges:
    @pytest.mark.parametrize(
        ("arguments", "pinned", "said"),
        [
            (["promote", "digits.lenet", "1"], True, "digits.lenet serves version 1, pinned\n"),
            (["rollback", "digits.lenet"], True, "digits.lenet serves version 1, pinned\n"),
            (["unpin", "digits.lenet"], False, "digits.lenet serves version 1\n"),
        ],
    )
    def test_each_says_what_serves_now(
        self, fake: FakeServer, capsys: Printed, arguments: list[str], pinned: bool, said: str
    ) -> None:
        fake.on(f"POST {LENET}:{arguments[0]}", Reply(model(best=1, pinned=pinned)))
        assert run(arguments) == 0
        assert capsys.readouterr().out == said

    def test_a_gate_says_its_margin(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"POST {LENET}:gate", Reply(model(best=1, pinned=False, margin=0.01)))
        assert run(["gate", "digits.lenet", "0.01"]) == 0
        assert capsys.readouterr().out == "digits.lenet serves version 1 until one beats it by 0.01\n"

    def test_nothing_to_go_back_to_is_exit_code_2(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"POST {LENET}:rollback", problem(409, "no_earlier_version", "it has served no version before 1"))
        assert run(["rollback", "digits.lenet"]) == 2
        assert "no_earlier_version" in capsys.readouterr().err
