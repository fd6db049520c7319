"""The client's comparisons and `kerasd compare`, against a small real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fakes import FakeServer, Reply, fake_server, problem

from cli.compare import MOST_ABREAST
from cli.main import run
from client import Client

COMPARE = "/api/v1/compare"
FIRST, SECOND = "0001-adam", "0002-sgd"
Printed = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("clean_environment")


def compared(job: str, accuracy: float | None, delta: float | None, **spec: Any) -> dict[str, Any]:
    return {
        "id": job,
        "state": "RUNNING" if accuracy is None else "SUCCEEDED",
        "reason": None,
        "architecture": "lenet",
        "view": "v1",
        "spec": {f"/{name}": value for name, value in spec.items()},
        "metrics": {"epochs": 4, "val_accuracy": accuracy, "test_loss": None},
        "deltas": {"epochs": 0, "val_accuracy": delta, "test_loss": None},
        "curves": {"epochs": [1, 4], "loss": [2.0, 1.0]},
    }


def comparison(*jobs: dict[str, Any], fields: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "baseline": FIRST,
        "objective": {"metric": "val_accuracy", "direction": "max"},
        "fields": list(fields),
        "jobs": list(jobs),
        "downsampled": {"epochs": 8, "points": 4, "method": "stride"},
    }


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with fake_server() as server:
        monkeypatch.setenv("KERASD_URL", server.url)
        both = (compared(FIRST, 0.5, 0.0, batch_size=32), compared(SECOND, 0.75, 0.25, batch_size=64, momentum=None))
        server.on(f"GET {COMPARE}", Reply(comparison(*both, fields=("/batch_size", "/momentum"))))
        yield server


def asked(fake: FakeServer) -> dict[str, list[str]]:
    return parse_qs(urlsplit(fake.asked[-1].target).query)


class TestClient:
    def test_what_is_asked_and_answered(self, fake: FakeServer) -> None:
        with Client(fake.url) as client:
            found = client.compare([FIRST, SECOND], baseline=FIRST)
        assert asked(fake) == {"jobs": [f"{FIRST},{SECOND}"], "baseline": [FIRST], "format": ["json"]}
        assert (found.fields, found.objective.metric) == (("/batch_size", "/momentum"), "val_accuracy")
        assert [job.deltas["val_accuracy"] for job in found.jobs] == [0.0, 0.25]
        assert found.jobs[0].curves["epochs"] == [1, 4]
        assert found.downsampled is not None
        assert (found.downsampled.epochs, found.downsampled.points) == (8, 4)


class TestCommand:
    def test_tables_with_what_differs_and_how_far_from_the_baseline(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["compare", FIRST, SECOND]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]
        assert rows == [
            ["job", "001-adam", "(baseline)", "0002-sgd"],
            ["batch_size", "32", "64"],
            ["momentum", "null"],
            ["job", "001-adam", "(baseline)", "0002-sgd"],
            ["state", "SUCCEEDED", "SUCCEEDED"],
            ["epochs", "4", "4", "(+0)"],
            ["val", "accuracy", "0.5", "0.75", "(+0.25)"],
        ]

    def test_many_jobs_have_a_line_each(self, fake: FakeServer, capsys: Printed) -> None:
        jobs = [compared(f"{number:08}", 0.5, 0.0, seed=number) for number in range(MOST_ABREAST + 1)]
        fake.on(f"GET {COMPARE}", Reply(comparison(*jobs, fields=("/seed",))))
        assert run(["compare", *(job["id"] for job in jobs)]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["00000002", "2"] in rows
        assert ["00000002", "SUCCEEDED", "4", "(+0)", "0.5", "(+0)"] in rows

    def test_equal_specs_and_missing_figures(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {COMPARE}", Reply(comparison(compared(FIRST, 0.5, 0.0), compared(SECOND, None, None))))
        assert run(["compare", FIRST, SECOND]) == 0
        printed = capsys.readouterr().out
        assert "the specs do not differ" in printed
        assert ["val", "accuracy", "0.5", "-"] in [line.split() for line in printed.splitlines()]

    def test_csv_and_a_picture(self, fake: FakeServer, tmp_path: Path, capsys: Printed) -> None:
        fake.on(f"GET {COMPARE}", Reply("job,é\n".encode()), Reply(b"<svg/>"))
        assert run(["compare", FIRST, "--csv", "--svg", str(tmp_path / "curves.svg")]) == 0
        assert capsys.readouterr().out == "job,é\n"
        assert (tmp_path / "curves.svg").read_bytes() == b"<svg/>"
        assert asked(fake)["format"] == ["svg"]

    def test_where_no_picture_can_be_written(self, fake: FakeServer, tmp_path: Path, capsys: Printed) -> None:
        assert run(["compare", FIRST, "--svg", str(tmp_path)]) != 0
        assert "is a directory" in capsys.readouterr().err

    def test_unknown_jobs_are_told(self, fake: FakeServer, capsys: Printed) -> None:
        faults = [{"pointer": "/query/jobs/0", "code": "job_not_found", "detail": "there is no job 'x'"}]
        fake.on(f"GET {COMPARE}", problem(422, "invalid_query", "the query has a fault", errors=faults))
        assert run(["compare", "x"]) == 2
        assert "there is no job 'x'" in capsys.readouterr().err
