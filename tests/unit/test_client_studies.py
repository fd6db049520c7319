"""The client and studies."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fakes import FakeServer, Reply, events, fake_server, state_event
from study_fakes import STUDIES, effects, page, results, study, study_run

from client import Client, Unreachable

S1 = f"{STUDIES}/s1"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with fake_server() as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.url, pause=lambda seconds: None) as client:
        yield client


class TestSubmit:
    def test_it_is_sent_again_with_the_same_key(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"POST {STUDIES}", Reply(cut=True), Reply(study(state="QUEUED"), 201))
        assert client.submit_study({"name": "a"}).state == "QUEUED"
        first, second = fake.asked
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert json.loads(second.body) == {"name": "a"}


class TestRead:
    def test_a_study_and_its_runs(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {S1}", Reply(study()))
        fake.on(f"GET {S1}/runs", Reply(page(study_run(), study_run(state="SKIPPED", job=None, progress=None))))
        found = client.study("s1")
        assert (found.ended, found.seeds, found.progress.finished) == (True, (0, 1), 4)
        running, skipped = client.study_runs("s1", state="RUNNING")
        assert running.progress is not None
        assert (running.progress.step, skipped.progress) == (10, None)
        assert "state=RUNNING" in fake.asked[-1].target
        assert "order_by" not in fake.asked[-1].target

    def test_findings(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {S1}/results", Reply(results()))
        fake.on(f"GET {S1}/effects", Reply(effects()))
        found = client.study_results("s1")
        assert [row.name for row in found.rows] == ["optimizer=adam", "optimizer=sgd"]
        assert [winner.sentence for winner in found.winners] == ["adam is best", "adam is best on lenet"]
        (effect,) = client.study_effects("s1").effects
        assert (effect.objective.difference, effect.verdict) == (-0.075, "worse")

    def test_pictures_and_the_report(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {S1}/curves.png", Reply(b"PNG"))
        fake.on(f"GET {S1}/pictures/grid.svg", Reply(b"<svg/>"))
        fake.on(f"GET {S1}/report", Reply("é".encode(), headers={"Content-Type": "text/html; charset=utf-8"}))
        assert client.study_picture("s1", "curves", "png", architecture="vgg") == b"PNG"
        assert client.study_picture("s1", "grid") == b"<svg/>"
        assert client.study_report("s1") == "é"

    def test_events_go_on_where_the_connection_broke(self, fake: FakeServer, client: Client) -> None:
        fake.on(
            f"GET {S1}/events", events(state_event(1, "RUNNING")), Reply(cut=True), events(state_event(2, "FAILED"))
        )
        assert [event.data["state"] for event in client.study_events("s1")] == ["RUNNING", "FAILED"]
        assert fake.asked[-1].headers["last-event-id"] == "1"


class TestMoves:
    @pytest.mark.parametrize("move", ["pause", "resume", "cancel"])
    def test_a_lost_answer_is_asked_for_again(self, fake: FakeServer, client: Client, move: str) -> None:
        fake.on(f"POST {S1}:{move}", Reply(cut=True), Reply(study(state="PAUSED")))
        assert getattr(client, f"{move}_study")("s1").state == "PAUSED"

    def test_an_extension_is_sent_once(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"POST {S1}:extend", Reply(cut=True), Reply(study()))
        with pytest.raises(Unreachable):
            client.extend_study("s1", space={"batch_size": [64]})
        assert [json.loads(asked.body) for asked in fake.asked] == [{"space": {"batch_size": [64]}}]
