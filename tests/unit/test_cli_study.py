"""`kerasd study`, against a small real server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeServer, Reply, events, fake_server, problem, state_event
from rich.console import Console
from study_fakes import STUDIES, effects, epoch, page, progress, results, running, study, study_run

from cli.main import run
from cli.positions import line_of
from cli.study_watch import Seen, picture, watch_study
from client import Client, Study

S1 = f"{STUDIES}/s1"
SPEC = '{\n  "name": "a",\n  "base": {"dataset": {"name": "cifar100", "classes": ["bee"], "split": "last"}},\n  "variants": [\n    {"name": "x",\n     "set": {"a/b": 1}}\n  ],\n  "budget": {"seeds": 1, "width": 0.5}\n}\n'
Printed = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with fake_server() as server:
        monkeypatch.setenv("KERASD_URL", server.url)
        server.on(f"GET {S1}", Reply(study()))
        server.on(f"GET {S1}/runs", Reply(page()))
        server.on(f"GET {S1}/results", Reply(results()))
        server.on(f"GET {S1}/effects", Reply(effects()))
        server.on(f"POST {STUDIES}", Reply(study(state="QUEUED"), 201))
        yield server


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "study.json"
    path.write_text(SPEC, encoding="utf-8")
    return str(path)


class TestSubmit:
    @pytest.mark.parametrize("words", [["study"], ["study", "submit"]])
    def test_the_word_may_be_left_out(self, fake: FakeServer, file: str, words: list[str], capsys: Printed) -> None:
        assert run([*words, file]) == 0
        assert capsys.readouterr().out == "s1\n"
        assert json.loads(fake.asked[0].body) == json.loads(SPEC)

    def test_options_change_what_the_file_says(self, fake: FakeServer, file: str) -> None:
        options = ["--dataset", "digits", "--seeds", "5", "--epochs", "2", "--set", "base.optimizer=sgd"]
        assert run(["study", file, *options]) == 0
        sent = json.loads(fake.asked[0].body)
        assert sent["base"] == {"dataset": {"name": "digits", "split": "last"}, "optimizer": "sgd"}
        assert (sent["seeds"], sent["budget"]) == (5, {"width": 0.5, "epochs": 2})

    def test_the_budget_can_be_left_out(self, fake: FakeServer, file: str) -> None:
        assert run(["study", file, "--no-budget"]) == 0
        assert "budget" not in json.loads(fake.asked[0].body)

    def test_faults_come_with_their_line(self, fake: FakeServer, file: str, capsys: Printed) -> None:
        faults = [
            {"pointer": "/variants/0/set/a~1b", "detail": "unknown field"},
            {"pointer": "/base/dataset/classes/0", "detail": "no such class"},
            {"pointer": "/space", "detail": "required"},
        ]
        fake.on(f"POST {STUDIES}", problem(422, "invalid_study_spec", "it has 3 faults", errors=faults))
        assert run(["study", file]) == 2
        shown = capsys.readouterr().err
        assert f"{file}:6: /variants/0/set/a~1b: unknown field" in shown
        assert f"{file}:3: /base/dataset/classes/0: no such class" in shown
        assert "  /space: required" in shown


class TestRead:
    def test_results_have_a_table_and_winners(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["study", "results", "s1"]) == 0
        shown = capsys.readouterr().out
        assert "0.930 to 0.970" in shown
        assert "adam is best on lenet" in shown

    def test_csv_is_the_server_s(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {S1}/results", Reply(b"rank,name\n"))
        assert run(["study", "results", "s1", "--csv"]) == 0
        assert capsys.readouterr().out == "rank,name\n"
        assert "format=csv" in fake.asked[-1].target

    def test_effects_are_sentences(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["study", "effects", "s1"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines == [
            "optimizer",
            "  sgd is 7.5 points worse than adam",
            "warning: two seeds are few",
            "1 comparison",
        ]

    def test_the_report_is_one_file(self, fake: FakeServer, tmp_path: Path, capsys: Printed) -> None:
        fake.on(f"GET {S1}/report", Reply(b"<html></html>"))
        target = tmp_path / "report.html"
        assert run(["study", "report", "s1", "--output", str(target)]) == 0
        assert target.read_text(encoding="utf-8") == "<html></html>"

    def test_lists(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {STUDIES}", Reply(page(running())))
        fake.on(f"GET {S1}/runs", Reply(page(study_run(state="FAILED", reason="DIVERGED", detail="NaN"))))
        assert run(["study", "list"]) == 0
        assert "3/8" in capsys.readouterr().out
        assert run(["study", "runs", "s1"]) == 0
        assert "DIVERGED: NaN" in capsys.readouterr().out


class TestMoves:
    @pytest.mark.parametrize("move", ["pause", "resume", "cancel"])
    def test_each_tells_the_state(self, fake: FakeServer, move: str, capsys: Printed) -> None:
        fake.on(f"POST {S1}:{move}", Reply(study(state="PAUSED")))
        assert run(["study", move, "s1"]) == 0
        assert capsys.readouterr().out == "s1 PAUSED\n"

    def test_extend(self, fake: FakeServer) -> None:
        fake.on(f"POST {S1}:extend", Reply(running()))
        assert run(["study", "extend", "s1", "--seeds", "5", "--values", "batch_size=[64,128]"]) == 0
        assert json.loads(fake.asked[0].body) == {"seeds": 5, "space": {"batch_size": [64, 128]}}


class TestWatch:
    def test_lines_without_a_terminal(self, fake: FakeServer, capsys: Printed) -> None:
        ended = {"variant": 2, "seed": 1, "job": "j4", "state": "FAILED", "reason": "DIVERGED", "detail": None}
        run_event = f"event: run\nid: 2\ndata: {json.dumps(ended)}\n\n"
        told = progress(running=1, epochs=3, eta_seconds=61.0)
        fake.on(
            f"GET {S1}/events",
            events(state_event(1, "RUNNING"), f"event: progress\ndata: {json.dumps(told)}\n\n"),
            Reply(cut=True),
            events(run_event, state_event(3, "SUCCEEDED")),
        )
        fake.on(f"GET {S1}/runs", Reply(page(study_run())), Reply(page()))
        assert run(["study", "watch", "s1"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:3] == [
            "study s1 RUNNING",
            "0/4 runs  3/8 epochs  1 running  ETA 1:01",
            "optimizer=sgd, seed 1: FAILED DIVERGED",
        ]
        assert "SUCCEEDED after 1:10" in lines
        assert "adam is best" in lines
        assert any("kerasd study report s1" in line for line in lines)

    def test_a_failed_study_is_exit_code_1(self, fake: FakeServer, capsys: Printed) -> None:
        fake.on(f"GET {S1}", Reply(study(state="FAILED", detail="no run succeeded")))
        fake.on(f"GET {S1}/events", events(state_event(1, "FAILED")))
        assert run(["study", "watch", "s1"]) == 1
        assert "no run succeeded" in capsys.readouterr().out

    def test_live_over_a_restart_of_the_server(self, fake: FakeServer) -> None:
        away = [Reply(cut=True)] * 5
        fake.on(f"GET {S1}", Reply(running()), Reply(running()), *away, Reply(study()))
        fake.on(f"GET {S1}/runs", Reply(page(study_run())), Reply(page()))
        fake.on("GET /api/v1/jobs/j4/epochs", Reply({"items": [epoch(1, 0.75)]}))
        stream = io.StringIO()
        with Client(fake.url, pause=lambda seconds: None) as client:
            console = Console(file=stream, force_terminal=True, width=120)
            assert watch_study(client, "s1", console, pause=lambda seconds: None) == 0
        assert "optimizer=adam" in stream.getvalue()

    def test_ctrl_c_leaves_the_study_running(self, fake: FakeServer) -> None:
        def interrupt(seconds: float) -> None:
            raise KeyboardInterrupt

        fake.on(f"GET {S1}", Reply(running()))
        stream = io.StringIO()
        with Client(fake.url) as client:
            assert watch_study(client, "s1", Console(file=stream, force_terminal=True, width=120), interrupt) == 130
        assert "the study goes on" in stream.getvalue()
        assert {asked.method for asked in fake.asked} == {"GET"}

    def test_the_picture(self, fake: FakeServer) -> None:
        with Client(fake.url) as client:
            fake.on(f"GET {S1}/runs", Reply(page(study_run())))
            (present,) = client.study_runs("s1")
            fake.on("GET /api/v1/jobs/j4/epochs", Reply({"items": [epoch(1, 0.75)]}))
            latest = {"j4": client.epochs("j4")[0]}
            seen = Seen(Study.parse(running()), (present,), latest, client.study_results("s1"), away=True)
        stream = io.StringIO()
        Console(file=stream, width=120).print(picture(seen))
        shown = stream.getvalue()
        for words in (
            "1/4 runs",
            "ETA 1:01",
            "optimizer=sgd",
            "epoch 2/2",
            "step 10/40",
            "val_accuracy 0.750",
            "0.950",
        ):
            assert words in shown
        assert "does not answer" in shown


class TestPositions:
    @pytest.mark.parametrize(
        ("pointer", "line"),
        [("/name", 2), ("/variants/0/name", 5), ("/variants/0/set", 6), ("/budget/epochs", 8), ("/x", None)],
    )
    def test_a_value_or_what_is_around_it(self, pointer: str, line: int | None) -> None:
        assert line_of(SPEC, pointer) == line
