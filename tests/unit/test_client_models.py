"""The client and models: which version serves, changed at most once and only as it was seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from fakes import MODELS, FakeServer, Reply, events, fake_server, model, model_card, model_version, problem

from client import ApiError, Client, Model, Unreachable

LENET = f"{MODELS}/digits.lenet"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with fake_server() as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.url, pause=lambda seconds: None) as client:
        yield client


class TestRead:
    def test_models_are_listed_with_what_serves(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {MODELS}", Reply({"items": [model_version(2, pinned=True, versions=3)]}))
        (found,) = client.models()
        assert (found.name, found.version, found.pinned, found.versions) == ("digits.lenet", 2, True, 3)
        assert found.metrics["val_accuracy"] == 0.9123

    def test_a_model_has_its_versions(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {LENET}", Reply(model(margin=0.01)))
        found = client.model("digits.lenet")
        assert (found.best, found.pinned, found.margin, found.etag) == (2, False, 0.01, '"3"')
        assert [version.version for version in found.versions] == [3, 2]
        assert found.updated_at.isoformat() == "2026-01-02T03:04:05.678000+00:00"

    def test_a_version_has_its_card(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {LENET}/versions/2", Reply(model_version(2, card=model_card())))
        assert client.model_version("digits.lenet", 2).card["sizes"]["parameters"] == 82826
        fake.on(f"GET {LENET}/versions/2/card.md", Reply(b"# digits.lenet, version 2\n"))
        assert client.model_card("digits.lenet", 2) == "# digits.lenet, version 2\n"

    def test_a_name_cannot_leave_its_place_in_the_path(self, fake: FakeServer, client: Client) -> None:
        with pytest.raises(ApiError):
            client.model("../jobs?x=/")
        assert fake.asked[0].target == f"{MODELS}/..%2Fjobs%3Fx%3D%2F"

    def test_events_go_on_where_the_connection_broke(self, fake: FakeServer, client: Client) -> None:
        first, second = (f'event: published\nid: {number}\ndata: {{"best": {number}}}\n\n' for number in (1, 2))
        fake.on(f"GET {LENET}/events", events(first), Reply(cut=True), events(second))
        found = list(islice(client.model_events("digits.lenet"), 2))
        assert [(event.id, event.kind, event.data["best"]) for event in found] == [
            ("1", "published", 1),
            ("2", "published", 2),
        ]
        assert [asked.headers.get("last-event-id") for asked in fake.asked] == [None, "1", "1"]


Change = Callable[[Client, str | None], Model]
CHANGES: dict[str, tuple[Change, dict[str, object]]] = {
    "promote": (lambda client, etag: client.promote("digits.lenet", 1, etag=etag), {"version": 1}),
    "rollback": (lambda client, etag: client.rollback("digits.lenet", etag=etag), {}),
    "unpin": (lambda client, etag: client.unpin("digits.lenet", etag=etag), {}),
    "gate": (lambda client, etag: client.gate("digits.lenet", 0.5, etag=etag), {"margin": 0.5}),
}


@pytest.mark.parametrize("move", CHANGES)
class TestChanges:
    def test_each_returns_the_model(self, fake: FakeServer, client: Client, move: str) -> None:
        change, body = CHANGES[move]
        fake.on(f"POST {LENET}:{move}", Reply(model(best=1, pinned=True)))
        assert change(client, None).best == 1
        assert json.loads(fake.asked[0].body) == body
        assert "if-match" not in fake.asked[0].headers

    def test_it_may_be_tied_to_what_was_seen(self, fake: FakeServer, client: Client, move: str) -> None:
        change, _ = CHANGES[move]
        fake.on(f"POST {LENET}:{move}", problem(412, "precondition_failed", "it has changed since"))
        with pytest.raises(ApiError) as caught:
            change(client, '"3"')
        assert caught.value.code == "precondition_failed"
        assert fake.asked[0].headers["if-match"] == '"3"'

    def test_a_lost_answer_does_not_change_it_twice(self, fake: FakeServer, client: Client, move: str) -> None:
        """Promoting, unpinning and setting the gate twice is harmless; rolling back twice is not, nor is a stale ETag."""
        change, _ = CHANGES[move]
        fake.on(f"POST {LENET}:{move}", Reply(cut=True), Reply(model()))
        with pytest.raises(Unreachable):
            change(client, '"3"')
        fake.on(f"POST {LENET}:{move}", Reply(cut=True), Reply(model()))
        if move == "rollback":
            with pytest.raises(Unreachable):
                change(client, None)
        else:
            assert change(client, None).best == 2
