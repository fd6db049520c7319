"""`kerasd dataset list`, `show` and `delete`, against a small real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fakes import DATASETS, FakeServer, Reply, dataset, importing, importing_server, problem, rejected

from cli.main import run

FLOWERS = f"GET {DATASETS}/flowers"
Printed = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with importing_server() as server:
        monkeypatch.setenv("KERASD_URL", server.url)
        yield server


def words(text: str) -> str:
    return " ".join(text.split())


class TestList:
    def test_a_table(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {DATASETS}", Reply({"items": [importing(name="new"), dataset()], "next_page_token": None}))
        assert run(["dataset", "list"]) == 0
        lines = [words(line) for line in capsys.readouterr().out.splitlines()]
        assert "name state classes images size created" in lines
        assert any(line.startswith("new IMPORTING - - - ") for line in lines)
        assert any(line.startswith("flowers READY 2 120 45.6 MB ") for line in lines)

    def test_nothing_is_said(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {DATASETS}", Reply({"items": [], "next_page_token": None}))
        assert run(["dataset", "list", "--state", "REJECTED"]) == 0
        assert capsys.readouterr().out == "no datasets\n"
        assert "state=REJECTED" in fake.asked[0].target

    def test_json(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {DATASETS}", Reply({"items": [dataset()], "next_page_token": None}))
        assert run(["dataset", "list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["classes"][0]["label"] == "rose"


class TestShow:
    def test_everything_is_shown(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["dataset", "show", "flowers"]) == 0
        shown = capsys.readouterr().out
        for expected in (
            "photos.zip (12.3 MB)",
            "96 train, 24 test",
            "48 x 64 to 768 x 1024, 37 different (height x width)",
            "RGB",
            "mean 123.40 117.00 104.25",
            "0123abcd",
            "45.6 MB",
            "warning rose has 5 times the images of tulip",
        ):
            assert expected in words(shown)

    def test_bars_are_as_long_as_classes_are_large(self, fake: FakeServer, capsys: Printed) -> None:
        run(["dataset", "show", "flowers"])
        lines = {words(line).split(" ")[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
        assert words(lines["rose"]).startswith("rose 80 - 20")
        assert [lines[label].count("█") + lines[label].count("#") for label in ("rose", "tulip")] == [30, 6]

    def test_a_rejected_one_has_its_errors(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(FLOWERS, Reply(rejected(3)))
        assert run(["dataset", "show", "flowers"]) == 0
        assert "rose/002.png the PNG image is truncated corrupt_image" in words(capsys.readouterr().out)

    def test_skipped_files_are_named(self, fake: FakeServer, capsys: Printed) -> None:
        report = {
            **dataset()["report"],
            "skipped": 130,
            "skipped_files": [{"file": "rose/1.png", "code": "corrupt_image", "detail": "damaged"}],
        }
        fake.on(FLOWERS, Reply(dataset(report=report)))
        assert run(["dataset", "show", "flowers"]) == 0
        shown = words(capsys.readouterr().out)
        assert "rose/1.png damaged corrupt_image" in shown
        assert "and 129 more" in shown

    def test_json(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["dataset", "show", "flowers", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["images"] == {"train": 96, "validation": None, "test": 24}

    def test_an_unknown_one_is_invalid_input(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {DATASETS}/weeds", problem(404, "dataset_not_found", "there is no dataset 'weeds'"))
        assert run(["dataset", "show", "weeds"]) == 2
        assert "there is no dataset 'weeds'" in capsys.readouterr().err


class TestDelete:
    def test_it_is_said(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"DELETE {DATASETS}/flowers", Reply(status=204))
        assert run(["dataset", "delete", "flowers"]) == 0
        assert capsys.readouterr().out == "flowers deleted\n"

    def test_one_in_use_stays(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"DELETE {DATASETS}/flowers", problem(409, "dataset_in_use", "job a1 needs flowers"))
        assert run(["dataset", "delete", "flowers"]) == 2
        assert "job a1 needs flowers (409 dataset_in_use)" in capsys.readouterr().err
