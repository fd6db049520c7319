"""Studies over HTTP, in-process: what is refused before anything starts, what is created, how studies move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
import rows
from answering import problem
from sqlalchemy import func, select
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from streaming import stream

from core.database import Database
from core.settings import Settings
from core.tables import JobRow, StudyRow, StudyRunRow
from service.app import create_app

STUDIES = "/api/v1/studies"
BASE = {"dataset": "digits", "architecture": "lenet", "epochs": 2}
GRID = {"name": "which optimizer?", "base": BASE, "space": {"optimizer": ["adam", "sgd"], "batch_size": [32, 64]}}
LIST = {
    "name": "two",
    "base": BASE,
    "variants": [{"name": "plain"}, {"name": "dropout", "set": {"optimizer.learning_rate": 0.01}}],
    "seeds": 2,
}


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> ASGIApp:
    return create_app(Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0"))


@pytest.fixture
def api(app: ASGIApp) -> TestClient:
    """Not started: nothing is predicted here."""
    return TestClient(app)


def submit(api: TestClient, study: dict[str, Any] = GRID, **changes: Any) -> dict[str, Any]:
    answer = api.post(STUDIES, json={**study, **changes})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def runs(api: TestClient, study: str, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get(f"{STUDIES}/{study}/runs?page_size=1000{query}").json()["items"]
    return items


def count(database: Database, table: Any) -> int:
    with database.snapshot() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def start_job(database: Database, study: str, variant: int, seed: int) -> str:
    """Gives a run its job, as a worker does."""
    job = rows.submit(database, seed=seed)
    with database.transaction() as session:
        session.get_one(StudyRunRow, (study, variant, seed)).job_id = job
    return job


class TestSubmitting:
    def test_a_grid_has_a_run_for_each_combination_and_seed(self, api: TestClient) -> None:
        answer = api.post(STUDIES, json=GRID)
        study = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"{STUDIES}/{study['id']}"
        assert (study["state"], study["seeds"], study["progress"]["runs"]) == ("QUEUED", [0, 1, 2], 12)
        assert study["progress"]["epochs_planned"] == 24
        assert study["objective"] == {"metric": "val_accuracy", "direction": "max"}
        assert api.get(f"{STUDIES}/{study['id']}").json() == study
        started = [(run["seed"], run["name"]) for run in runs(api, study["id"])]
        names = [f"optimizer={name} batch_size={size}" for name in ("adam", "sgd") for size in (32, 64)]
        assert started == [(seed, name) for seed in (0, 1, 2) for name in names]

    def test_seeds_count_up_from_the_bases_or_are_listed(self, api: TestClient) -> None:
        assert submit(api, base={**BASE, "seed": 7}, seeds=2)["seeds"] == [7, 8]
        assert submit(api, seeds=[5, 1])["seeds"] == [5, 1]

    def test_runs_come_in_pages(self, api: TestClient) -> None:
        study, found = submit(api)["id"], []
        token: str | None = ""
        while token is not None:
            page = api.get(f"{STUDIES}/{study}/runs?page_size=5" + (f"&page_token={token}" if token else "")).json()
            found += page["items"]
            token = page["next_page_token"]
        assert found == runs(api, study)
        problem(api.get(f"{STUDIES}/{study}/runs?page_token=rubbish"), 422, "invalid_query")

    def test_an_explicit_list_keeps_its_names(self, api: TestClient) -> None:
        study = submit(api, LIST)
        assert [run["name"] for run in runs(api, study["id"])] == ["plain", "dropout"] * 2
        assert [warning["code"] for warning in study["warnings"]] == ["few_seeds"]

    def test_a_repeat_with_its_key_makes_no_second_study(self, api: TestClient, database: Database) -> None:
        first, second = (api.post(STUDIES, json=GRID, headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert first.json() == second.json()
        assert second.headers["idempotent-replayed"] == "true"
        other = api.post(STUDIES, json=LIST, headers={"Idempotency-Key": "k"})
        problem(other, 422, "idempotency_key_reused")
        assert count(database, StudyRow) == 1

    def test_only_validated_nothing_is_created(self, api: TestClient, database: Database) -> None:
        answer = api.post(f"{STUDIES}?validate_only=true", json=GRID)
        told = answer.json()
        assert answer.status_code == 200, answer.text
        assert (told["runs"], told["epochs"], len(told["variants"])) == (12, 24, 4)
        assert told["seconds"] > 0
        assert count(database, StudyRow) == 0

    def test_a_search_has_no_variants_yet(self, api: TestClient) -> None:
        space = {"optimizer.learning_rate": {"low": 1e-4, "high": 0.1, "log": True}, "optimizer": ["adam", "sgd"]}
        study = submit(api, space=space, search={"method": "bayesian"})
        assert (study["progress"]["runs"], study["spec"]["search"]["trials"]) == (0, 20)

    def test_a_budget_makes_jobs_smaller_and_says_so(self, api: TestClient, database: Database) -> None:
        budget = {"epochs": 1, "train_images": 300, "seeds": 1, "width": 0.5}
        study = submit(api, budget=budget)
        assert {warning["code"] for warning in study["warnings"]} == {"reduced_by_budget", "few_seeds"}
        told = api.post(f"{STUDIES}?validate_only=true", json={**GRID, "budget": budget}).json()
        assert (study["progress"]["runs"], told["epochs"]) == (4, 4)
        assert told["variants"][0]["parameters"] < 30_000  # of 82,826

    def test_a_dataset_stands_in_for_one_that_is_not_here(self, api: TestClient, database: Database) -> None:
        base = {**BASE, "dataset": {"name": "cifar100", "classes": ["apple", "bear"], "split": "last"}}
        study = submit(api, base=base, budget={"stand_in": "digits"})
        assert (study["dataset"], study["stand_in"]) == ("digits", True)
        assert "stand_in_dataset" in {warning["code"] for warning in study["warnings"]}
        rows.submit(database, dataset="cifar100")  # makes it ready
        assert submit(api, base=base, budget={"stand_in": "digits"})["dataset"] == "cifar100"


WRONG: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"space": {"optimizr": ["adam", "sgd"]}}, [("/space/optimizr", "unknown_field")]),
    ({"space": {"/architecture/colour": ["red"]}}, [("/space/~1architecture~1colour", "unknown_field")]),
    ({"space": {"optimizer": []}}, [("/space/optimizer", "empty_list")]),
    ({"space": {}}, [("/space", "invalid")]),
    ({"space": {f"a.b{n}": list(range(10)) for n in range(9)}}, [("/space", "too_many_combinations")]),
    ({"space": {"batch_size": list(range(1, 1001))}, "seeds": 11}, [("/seeds", "too_many_jobs")]),
    (
        {"space": {"optimizer": ["adam", "sgd"], "optimizer.momentum": [0.9]}},  # adam has none
        [("/space/optimizer.momentum", "unknown_field")],
    ),
    (
        {"space": {"batch_size": [32, 0], "epochs": [1, -1]}},
        [("/space/epochs/1", "invalid"), ("/space/batch_size/1", "invalid")],
    ),
    ({"space": {"seed": [1, 2]}}, [("/space/seed", "invalid")]),
    ({"space": {"batch_size": [32], "/batch_size": [64]}}, [("/space/~1batch_size", "invalid")]),
    (
        {"space": {"optimizer.learning_rate": {"low": 0.1, "high": 0.2}}},
        [("/space/optimizer.learning_rate", "invalid")],
    ),
    ({"space": {"batch_size": {"low": 8, "high": 2}}}, [("/space/batch_size", "invalid")]),
    (
        {"space": {"phases.0.epochs": [1, 2]}},
        [("/space/phases.0.epochs/0", "invalid"), ("/space/phases.0.epochs/1", "invalid")],
    ),
    ({"base": {**BASE, "epochs": "many"}}, [("/base/epochs", "invalid")]),
    ({"base": {"dataset": "digits"}}, [("/base/architecture", "required")]),
    ({"base": {**BASE, "dataset": "unknown"}}, [("/base/dataset", "unknown_dataset")]),
    ({"objective": {"metric": "val_loss"}, "base": {**BASE, "objective": {}}}, [("/objective", "invalid")]),
    ({"seeds": [1, 1]}, [("/seeds", "invalid")]),
    ({"base": {**BASE, "seed": 2**31 - 2}}, [("/seeds", "invalid")]),
    ({"search": {"trials": 3}}, [("/search/trials", "invalid")]),
    ({"pruning": {"min_epochs": 2}}, [("/pruning/min_epochs", "invalid")]),
    ({"variants": [{"name": "a"}]}, [("", "invalid")]),
    ({"space": None}, [("", "invalid")]),
    (
        {"budget": {"stand_in": "nothing"}, "base": {**BASE, "dataset": "cifar100"}},
        [("/budget/stand_in", "unknown_dataset")],
    ),
    ({"nonsense": 1}, [("/nonsense", "unknown_field")]),
]

WRONG_LISTS: list[tuple[list[dict[str, Any]], str]] = [
    ([{"name": "a"}, {"name": "a"}], "/variants/1/name"),
    ([{"name": "a", "set": {"epochs": 0}}], "/variants/0/set/epochs"),
    ([{"name": "a", "set": {"epochs": 3, "/epochs": 4}}], "/variants/0/set/~1epochs"),
    ([{"name": "a", "set": {"architecture.no.where": 0}}], "/variants/0/set/architecture.no.where"),
    ([{"name": "a", "starts_from": {"variant": "b"}}], "/variants/0/starts_from/variant"),
    ([{"name": "a", "donor": True}, {"name": "b"}], "/variants/0/donor"),
    # A LeNet has no base to start from another's.
    ([{"name": "a"}, {"name": "b", "starts_from": {"variant": "a"}}], "/base/architecture/weights"),
]


class TestRefusals:
    @pytest.mark.parametrize(("changes", "faults"), WRONG)
    def test_each_names_its_place_and_starts_nothing(
        self, api: TestClient, database: Database, changes: dict[str, Any], faults: list[tuple[str, str]]
    ) -> None:
        body = problem(api.post(STUDIES, json={**GRID, **changes}), 422, "invalid_study_spec")
        assert [(fault["pointer"], fault["code"]) for fault in body["errors"]] == faults
        assert count(database, StudyRow) == count(database, JobRow) == 0

    @pytest.mark.parametrize(("variants", "pointer"), WRONG_LISTS)
    def test_lists_of_variants_too(self, api: TestClient, variants: list[dict[str, Any]], pointer: str) -> None:
        body = problem(api.post(STUDIES, json={**LIST, "variants": variants}), 422, "invalid_study_spec")
        assert [fault["pointer"] for fault in body["errors"]] == [pointer]

    def test_a_fault_names_all_that_its_combination_sets(self, api: TestClient) -> None:
        space = {"architecture": ["lenet"], "dataset.image_size": [4]}
        (fault,) = problem(api.post(STUDIES, json={**GRID, "space": space}), 422, "invalid_study_spec")["errors"]
        assert "architecture = lenet, dataset.image_size = 4" in fault["detail"]

    @pytest.mark.parametrize("body", [None, [], 1, "study", {}])
    def test_what_is_no_study_at_all(self, api: TestClient, body: Any) -> None:
        problem(api.post(STUDIES, json=body), 422, "invalid_study_spec")

    def test_unknown_studies(self, api: TestClient) -> None:
        for path in ("", "/runs", "/events", "/results", "/effects", "/curves.svg", "/report"):
            problem(api.get(f"{STUDIES}/none{path}"), 404, "study_not_found")
        for move in ("pause", "resume", "cancel", "extend"):
            problem(api.post(f"{STUDIES}/none:{move}", json={}), 404, "study_not_found")


class TestLenders:
    VARIANTS = (
        {"name": "base", "set": {"architecture": {"name": "vgg", "preset": "vgg16", "input_size": 32}}, "donor": True},
        {
            "name": "transfer",
            "set": {"architecture": "transfer", "dataset.color": "rgb"},
            "starts_from": {"variant": "base", "unless": "imagenet"},
        },
    )

    def test_a_variant_may_start_from_another_whose_base_fits(self, api: TestClient) -> None:
        base = {**BASE, "dataset": {"name": "digits", "color": "rgb"}}
        study = submit(api, LIST, base=base, variants=list(self.VARIANTS), seeds=1)
        assert [run["name"] for run in runs(api, study["id"])] == ["base", "transfer"]

    def test_one_whose_base_does_not_fit_is_refused(self, api: TestClient) -> None:
        base = {**BASE, "dataset": {"name": "digits", "color": "rgb"}}
        variants = [{"name": "base", "set": {"architecture": "mycnn"}}, self.VARIANTS[1]]
        body = problem(api.post(STUDIES, json={**LIST, "base": base, "variants": variants}), 422, "invalid_study_spec")
        assert "no published base" in body["errors"][0]["detail"]


class TestMoving:
    def test_pause_and_resume_take_the_jobs_along(self, api: TestClient, database: Database) -> None:
        study = submit(api)["id"]
        waiting, running = (start_job(database, study, 1, seed) for seed in (0, 1))
        rows.write(database, running, state="RUNNING", attempt=1)
        told = self.move(api, study, "pause")
        assert (told["state"], told["progress"]["paused"], told["progress"]["running"]) == ("PAUSED", 1, 1)
        assert [rows.read(database, job).state for job in (waiting, running)] == ["PAUSED", "PAUSING"]
        assert self.move(api, study, "pause")["state"] == "PAUSED"
        assert self.move(api, study, "resume")["state"] == "QUEUED"
        assert [rows.read(database, job).state for job in (waiting, running)] == ["QUEUED", "PAUSING"]

    def test_a_job_that_was_paused_by_hand_stays_so(self, api: TestClient, database: Database) -> None:
        study = submit(api)["id"]
        job = start_job(database, study, 1, 0)
        api.post(f"/api/v1/jobs/{job}:pause")
        self.move(api, study, "pause")
        self.move(api, study, "resume")
        assert rows.read(database, job).state == "PAUSED"

    def test_cancel_ends_the_study_and_its_jobs_but_not_reused_ones(self, api: TestClient, database: Database) -> None:
        study = submit(api)["id"]
        own, reused = start_job(database, study, 1, 0), start_job(database, study, 1, 1)
        with database.transaction() as session:
            session.get_one(StudyRunRow, (study, 1, 1)).reused = True
        told = self.move(api, study, "cancel")
        assert (told["state"], told["progress"]["cancelled"]) == ("CANCELLED", 1)
        assert [rows.read(database, job).state for job in (own, reused)] == ["CANCELLED", "QUEUED"]
        assert self.move(api, study, "cancel")["state"] == "CANCELLED"
        for move in ("pause", "resume", "extend"):
            problem(api.post(f"{STUDIES}/{study}:{move}", json={}), 409, "invalid_transition")

    def test_jobs_are_listed_by_study(self, api: TestClient, database: Database) -> None:
        study = submit(api)["id"]
        job = start_job(database, study, 1, 0)
        rows.submit(database)
        assert [entry["id"] for entry in api.get(f"/api/v1/jobs?study={study}").json()["items"]] == [job]
        assert api.get(f"/api/v1/jobs?study={study}&state=RUNNING").json()["items"] == []

    def test_runs_show_their_jobs(self, api: TestClient, database: Database) -> None:
        study = submit(api)["id"]
        job = start_job(database, study, 2, 1)
        (run,) = runs(api, study, "&state=QUEUED")
        assert (run["job"], run["variant"], run["seed"], run["progress"]["epochs"]) == (job, 2, 1, 25)
        assert len(runs(api, study, "&state=WAITING")) == 11

    def test_studies_are_listed_and_watched(self, api: TestClient, app: ASGIApp) -> None:
        ids = [submit(api, name=f"study {number}")["id"] for number in range(3)]
        page = api.get(f"{STUDIES}?page_size=2").json()
        rest = api.get(f"{STUDIES}?page_size=2&page_token={page['next_page_token']}").json()
        assert [study["id"] for study in [*page["items"], *rest["items"]]] == ids[::-1]
        assert api.get(f"{STUDIES}?state=RUNNING").json()["items"] == []
        etag = api.get(f"{STUDIES}/{ids[0]}").headers["etag"]
        assert api.get(f"{STUDIES}/{ids[0]}", headers={"If-None-Match": etag}).status_code == 304
        self.move(api, ids[0], "cancel")
        heard = [(kind, data["state"]) for _, kind, data in stream(app, f"{STUDIES}/{ids[0]}/events", 2)]
        assert heard == [("state", "QUEUED"), ("state", "CANCELLED")]

    def move(self, api: TestClient, study: str, move: str) -> dict[str, Any]:
        answer: httpx2.Response = api.post(f"{STUDIES}/{study}:{move}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


class TestExtending:
    def test_more_seeds_and_values_leave_what_is_there(self, api: TestClient, database: Database) -> None:
        study = submit(api)["id"]
        job = start_job(database, study, 1, 0)
        told = api.post(f"{STUDIES}/{study}:extend", json={"seeds": 4, "space": {"batch_size": [128]}}).json()
        assert (told["seeds"], told["progress"]["runs"]) == ([0, 1, 2, 3], 24)
        found = {(run["variant"], run["seed"]): run for run in runs(api, study)}
        assert found[1, 0]["job"] == job
        assert {found[number, 0]["name"] for number in (5, 6)} == {
            "optimizer=adam batch_size=128",
            "optimizer=sgd batch_size=128",
        }

    def test_one_that_had_ended_goes_on(self, api: TestClient, database: Database) -> None:
        study = submit(api, LIST)["id"]
        with database.transaction() as session:
            session.get_one(StudyRow, study).state = "SUCCEEDED"
        answer = api.post(f"{STUDIES}/{study}:extend", json={"variants": [{"name": "third", "set": {"epochs": 3}}]})
        assert (answer.json()["state"], answer.json()["progress"]["runs"]) == ("RUNNING", 6)

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"seeds": 1}, "/seeds"),
            ({"space": {"epochs": [3]}}, "/space/epochs"),
            ({"space": {"batch_size": {"low": 1, "high": 2}}}, "/space/batch_size"),
            ({"space": {"batch_size": [0]}}, "/space/batch_size/2"),
            ({"variants": [{"name": "x"}]}, "/variants"),
            ({"trials": 5}, "/search/trials"),
            ({"more": 1}, "/more"),
        ],
    )
    def test_what_cannot_be_added(self, api: TestClient, body: dict[str, Any], pointer: str) -> None:
        study = submit(api)["id"]
        answer = api.post(f"{STUDIES}/{study}:extend", json=body)
        assert answer.status_code == 422, answer.text
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
        assert api.get(f"{STUDIES}/{study}").json()["progress"]["runs"] == 12


def test_another_tenants_study_is_unknown(api: TestClient, database: Database) -> None:
    study = submit(api)["id"]
    with database.transaction() as session:
        session.get_one(StudyRow, study).tenant_id = "other"
    problem(api.get(f"{STUDIES}/{study}"), 404, "study_not_found")
    assert api.get(STUDIES).json()["items"] == []
