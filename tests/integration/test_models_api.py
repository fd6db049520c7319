"""Models over HTTP, in-process: choosing, watching, cards."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import rows
from answering import problem
from sqlalchemy import update
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from streaming import stream

from core.database import Database
from core.repositories.attempts import record_environment
from core.settings import Settings
from core.tables import EvaluationRow, JobRow, ModelVersionRow
from service.app import create_app

MODELS = "/api/v1/models"
LENET = f"{MODELS}/digits.lenet"
ENVIRONMENT = {
    "versions": {"python": "3.11.2", "keras": "3.15.1"},
    "devices": ["CPU:0"],
    "processor": "AMD EPYC",
    "threads": 2,
    "code_revision": None,
}
CARD = {
    "sizes": {"parameters": 82826, "onnx_bytes": 1000, "weights_bytes": 1000},
    "latency": {"batch_1_ms": 0.0431, "batch_32_ms": 0.652, "threads": 2},
}

WRONG_BODIES: list[tuple[str, Any, str]] = [
    ("promote", None, "/version"),
    ("promote", {"version": "1"}, "/version"),
    ("promote", {"version": True}, "/version"),
    ("promote", {"version": 0}, "/version"),
    ("promote", {"version": 2**31}, "/version"),
    ("promote", {"version": 1, "pin": False}, "/pin"),
    ("promote", [1], ""),
    ("rollback", {"version": 1}, "/version"),
    ("unpin", {"force": True}, "/force"),
    ("gate", {}, "/margin"),
    ("gate", {"margin": -0.1}, "/margin"),
    ("gate", {"margin": None}, "/margin"),
    ("gate", {"margin": "0.1"}, "/margin"),
    ("gate", {"margin": 1e9}, "/margin"),
]


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> ASGIApp:
    return create_app(Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0"))


@pytest.fixture
def api(app: ASGIApp) -> TestClient:
    """Not started: nothing is predicted here, and so nothing need be loaded."""
    return TestClient(app)


def publish(database: Database, accuracy: float, **changes: Any) -> int:
    return rows.finish(database, rows.start(database), replace(rows.publication(val_accuracy=accuracy), **changes))


@pytest.fixture
def three(database: Database) -> None:
    """Versions of which the second serves, after the first."""
    for accuracy in (0.5, 0.7, 0.6):
        publish(database, accuracy)


def post(api: TestClient, move: str, body: Any = None, **headers: str) -> httpx2.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: httpx2.Response = api.post(f"{LENET}:{move}", json=body, headers=names)
    return answer


@pytest.mark.usefixtures("three")
class TestMoves:
    def test_each_answers_with_the_model_and_its_etag(self, api: TestClient) -> None:
        standing = []
        moves: list[tuple[str, Any]] = [
            ("promote", {"version": 3}),
            ("rollback", None),
            ("unpin", {}),
            ("gate", {"margin": 0.01}),
        ]
        for move, body in moves:
            answer = post(api, move, body)
            assert answer.status_code == 200, answer.text
            assert answer.json() == api.get(LENET).json()
            assert answer.headers["etag"] == answer.json()["etag"] == api.get(LENET).headers["etag"]
            standing.append(tuple(answer.json()[name] for name in ("best", "pinned", "margin")))
        assert standing == [(3, True, 0.0), (2, True, 0.0), (2, False, 0.0), (2, False, 0.01)]

    def test_predictions_of_the_list_follow(self, api: TestClient) -> None:
        post(api, "promote", {"version": 1})
        (item,) = api.get(MODELS).json()["items"]
        assert (item["version"], item["pinned"], item["versions"]) == (1, True, 3)

    @pytest.mark.parametrize(
        ("move", "body"),
        [("promote", {"version": 1}), ("rollback", None), ("unpin", None), ("gate", {"margin": 0.1})],
    )
    def test_if_match_ties_a_move_to_what_was_seen(self, api: TestClient, move: str, body: Any) -> None:
        seen = api.get(LENET).headers["etag"]
        post(api, "gate", {"margin": 0.5})
        assert "read it again" in problem(post(api, move, body, If_Match=seen), 412, "precondition_failed")["detail"]
        assert api.get(LENET).json()["best"] == 2
        present = api.get(LENET).headers["etag"]
        assert post(api, move, body, If_Match=f'"other", {present}').status_code == 200
        assert post(api, "unpin", If_Match="*").status_code == 200

    def test_what_is_not_the_present_etag_does_not_match(self, api: TestClient) -> None:
        assert api.get(LENET).json()["etag"] == '"3"'
        for etag in ('W/"3"', "3", '"4"', "", '"'):
            problem(post(api, "promote", {"version": 1}, If_Match=etag), 412, "precondition_failed")

    def test_a_wrong_body_is_told_by_its_field(self, api: TestClient) -> None:
        for move, body, pointer in WRONG_BODIES:
            (fault,) = problem(post(api, move, body), 422, "invalid_input")["errors"]
            assert fault["pointer"] == pointer, (move, body)
        assert api.get(LENET).json()["etag"] == '"3"'

    def test_what_is_not_there_is_404(self, api: TestClient) -> None:
        problem(post(api, "promote", {"version": 4}), 404, "model_not_found")
        for move, body in (("promote", {"version": 1}), ("rollback", None), ("unpin", None), ("gate", {"margin": 0})):
            problem(api.post(f"{MODELS}/digits.vgg:{move}", json=body), 404, "model_not_found")
        assert api.post(f"{LENET}:explode").status_code in (404, 405)

    def test_rolling_back_ends_with_the_first(self, api: TestClient) -> None:
        assert post(api, "rollback").json()["best"] == 1
        problem(post(api, "rollback"), 409, "no_earlier_version")


class TestWatching:
    def test_an_unchanged_model_is_304(self, api: TestClient, three: None) -> None:
        etag = api.get(LENET).headers["etag"]
        assert api.get(LENET, headers={"If-None-Match": etag}).status_code == 304

    def test_waiting_ends_with_the_next_change(self, api: TestClient, database: Database, three: None) -> None:
        etag = api.get(LENET).headers["etag"]
        headers = {"If-None-Match": etag, "Prefer": "wait=30"}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(api.get, LENET, headers=headers)
            publish(database, 0.4)
            changed = answer.result()
        assert changed.status_code == 200
        assert (changed.json()["best"], len(changed.json()["versions"])) == (2, 4)
        assert changed.headers["preference-applied"] == "wait=30"

    def test_events_come_in_order_and_as_they_happen(self, app: ASGIApp, database: Database, three: None) -> None:
        events = stream(app, f"{LENET}/events", 4, between=lambda: publish(database, 0.8))
        assert [(own_id, kind, data["previous"], data["best"]) for own_id, kind, data in events] == [
            ("1", "published", None, 1),
            ("2", "published", 1, 2),
            ("3", "published", 2, 2),
            ("4", "published", 2, 4),
        ]
        assert events[2][2]["cause"] == "published, but not better"
        assert events[2][2]["at"].endswith("Z")

    def test_they_resume_after_the_last_one_seen(self, app: ASGIApp, three: None) -> None:
        first = stream(app, f"{LENET}/events", 1)
        rest = stream(app, f"{LENET}/events", 2, {"Last-Event-ID": first[-1][0]})
        assert [own_id for own_id, _, _ in rest] == ["2", "3"]
        assert [own_id for own_id, _, _ in stream(app, f"{LENET}/events?after=2", 1)] == ["3"]

    def test_an_unknown_models_events_are_404(self, api: TestClient) -> None:
        problem(api.get(f"{LENET}/events"), 404, "model_not_found")


class TestCard:
    @pytest.fixture
    def card(self, api: TestClient, database: Database) -> dict[str, Any]:
        attempt = rows.start(database)
        with database.transaction() as session:
            record_environment(session, attempt, ENVIRONMENT)
        rows.finish(database, attempt, replace(rows.publication(), card=CARD))
        answer: dict[str, Any] = api.get(f"{LENET}/versions/1").json()
        assert answer["job"] == attempt.job_id
        card: dict[str, Any] = answer["card"]
        return card

    def test_it_tells_what_the_version_was_made_from(self, card: dict[str, Any], database: Database) -> None:
        job = rows.read(database, card["lineage"]["job"])
        assert card["spec"] == job.spec
        assert card["data"] == {"dataset": "digits", "view": "digits", "digest": "sha256:0"}
        assert card["lineage"]["spec_hash"] == job.spec_hash
        assert (card["lineage"]["attempts"], card["lineage"]["donor"]) == (1, None)
        assert card["lineage"]["environment"] == ENVIRONMENT

    def test_it_tells_how_good_large_and_fast_it_is(self, card: dict[str, Any]) -> None:
        assert card["confusion_matrix"] == [[1, 1], [0, 1]]
        assert [(figures["label"], figures["support"]) for figures in card["per_class"]] == [("0", 2), ("1", 1)]
        assert card["metrics"]["val_accuracy"] == 0.5
        assert card["parity"] == {"max_difference": 1e-6}
        assert card["sizes"] == CARD["sizes"]
        assert card["latency"] == CARD["latency"]

    def test_lists_do_without(self, api: TestClient, card: dict[str, Any]) -> None:
        for answer in (api.get(MODELS), api.get(LENET)):
            assert "card" not in answer.text
            assert "confusion_matrix" not in answer.text

    def test_another_jobs_weights_are_lineage(self, api: TestClient, database: Database) -> None:
        publish(database, 0.5)
        publish(database, 0.6)
        borrowed = {"name": "transfer", "weights": {"model": "digits.lenet", "version": 1, "part": "base"}}
        lender, borrower = (api.get(f"{LENET}/versions/{number}").json()["job"] for number in (1, 2))
        spec = rows.read(database, borrower).spec
        rows.write(database, borrower, spec={**spec, "architecture": borrowed})
        donor = api.get(f"{LENET}/versions/2").json()["card"]["lineage"]["donor"]
        assert donor == {"job": lender, "model": "digits.lenet", "version": 1}
        assert "digits.lenet, version 1" in api.get(f"{LENET}/versions/2/card.md").text
        rows.write(database, borrower, spec={**spec, "architecture": {**borrowed, "weights": {"job": lender}}})
        assert api.get(f"{LENET}/versions/2").json()["card"]["lineage"]["donor"] == donor

    def test_versions_from_before_there_were_cards_have_what_is_known(
        self, api: TestClient, database: Database
    ) -> None:
        publish(database, 0.5)
        answer = api.get(f"{LENET}/versions/1").json()["card"]
        assert answer["sizes"] == {"parameters": None, "onnx_bytes": 1000, "weights_bytes": 1000}
        assert answer["latency"] is answer["lineage"]["environment"] is None
        assert "not measured" in api.get(f"{LENET}/versions/1/card.md").text

    def test_a_version_that_is_not_there_has_none(self, api: TestClient, three: None) -> None:
        for path in ("versions/4", "versions/4/card.md"):
            problem(api.get(f"{LENET}/{path}"), 404, "model_not_found")
        problem(api.get(f"{LENET}/versions/0/card.md"), 422, "invalid_query")


class TestMarkdown:
    def read(self, api: TestClient) -> str:
        answer = api.get(f"{LENET}/versions/1/card.md")
        assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
        return answer.text

    def test_it_reads_as_a_document(self, api: TestClient, database: Database) -> None:
        attempt = rows.start(database)
        with database.transaction() as session:
            record_environment(session, attempt, ENVIRONMENT)
        rows.finish(database, attempt, replace(rows.publication(), card=CARD))
        text = self.read(api)
        assert text.startswith("# digits.lenet, version 1\n\n")
        assert "| one image, 2 threads | 0.0431 ms |" in text
        assert "| parameters | 82,826 |" in text
        assert "| 0 | 1.000 | 0.500 | 0.667 | 2 |" in text
        assert "- 0 for 1: 1" in text
        assert "| 0 | 1 | 1 |" in text
        assert "| keras | 3.15.1 |" in text
        assert json.loads(text.split("```json\n")[1].split("```")[0])["architecture"]["name"] == "lenet"

    def test_labels_cannot_leave_their_cell(self, api: TestClient, database: Database) -> None:
        publish(database, 0.5)
        labels = ["a|b\n# c", "<script>*x*"]
        with database.transaction() as session:
            session.execute(update(ModelVersionRow).values(labels=labels))
        text = self.read(api)
        assert "a\\|b \\# c" in text
        assert "\\<script\\>\\*x\\*" in text
        assert "<script>" not in text

    def test_a_large_matrix_is_told_by_what_was_confused(self, api: TestClient, database: Database) -> None:
        publish(database, 0.5)
        count = 21
        labels = [f"c{number}" for number in range(count)]
        matrix = [[0] * count for _ in labels]
        matrix[3][7], matrix[4][8] = 5, 9
        figures = [{"label": label, "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1} for label in labels]
        data = {**rows.EVALUATION, "labels": labels, "per_class": figures, "confusion_matrix": matrix}
        with database.transaction() as session:
            session.execute(update(ModelVersionRow).values(labels=labels))
            session.execute(update(EvaluationRow).values(data=data))
            session.execute(update(JobRow).values(tags={}))
        text = self.read(api)
        assert "- c4 for c8: 9\n- c3 for c7: 5" in text
        assert "Confusion matrix" not in text
