"""/api/v1/architectures, and what validating a spec tells of its network, weights and cost; on both engines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rows
from answering import problem
from sqlalchemy import update
from starlette.testclient import TestClient

from core.database import Database
from core.repositories.results import record_epoch
from core.settings import Settings
from core.tables import ModelVersionRow
from service.app import create_app

COMPARE = "/api/v1/architectures:compare"
VALIDATE = "/api/v1/jobs?validate_only=true"
UNTRAINED = {"name": "transfer", "weights": "none", "frozen": False}


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0")
    with TestClient(create_app(settings)) as client:
        yield client


def lend(database: Database, **spec: Any) -> tuple[str, str]:
    """A job that has published. Returns its id and the model's name."""
    attempt = rows.start(database, **spec)
    rows.finish(database, attempt)
    sides = {"height": 32, "width": 32, "channels": 3}
    with database.transaction() as session:
        query = update(ModelVersionRow).where(ModelVersionRow.job_id == attempt.job_id)
        session.execute(query.values(input_shape=sides, labels=[str(digit) for digit in range(10)]))
    return attempt.job_id, str(rows.read(database, attempt.job_id).model_name)


class TestArchitectures:
    def test_each_has_its_options_presets_and_reference(self, api: TestClient) -> None:
        items = {item["name"]: item for item in api.get("/api/v1/architectures").json()["items"]}
        assert items.keys() == {"lenet", "alexnet", "vgg", "mycnn", "transfer"}
        assert "width" in items["vgg"]["options"]["properties"]
        assert items["vgg"]["presets"]["vgg16"]["input_size"] == 224
        assert all(item["reference"] for item in items.values())

    def test_one_is_shown_layer_by_layer_with_options(self, api: TestClient) -> None:
        answer = api.get("/api/v1/architectures/vgg", params={"options": '{"preset": "vgg16"}', "classes": 1000}).json()
        assert answer["network"] == {
            "parameters": 138_357_544,
            "trainable_parameters": 138_357_544,
            "output_shape": [1000],
        }
        first = next(layer for layer in answer["layers"] if layer["type"] == "Conv2D")
        assert (first["name"], first["kernel"], first["output_shape"], first["parameters"]) == (
            "block1_conv1",
            3,
            [224, 224, 64],
            1792,
        )

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ({"options": "{"}, "/query/options"),
            ({"options": "[]"}, "/query/options"),
            ({"options": '{"nonsense": 1}'}, "/query/options/nonsense"),
            ({"options": '{"preset": "vgg17"}'}, "/query/options/preset"),
            ({"input_shape": "3,3"}, "/query/input_shape"),
            ({"options": '{"preset": "vgg16"}', "input_shape": "224,224,1"}, "/query/input_shape"),
        ],
        ids=str,
    )
    def test_a_fault_is_told_at_its_place(self, api: TestClient, query: dict[str, str], pointer: str) -> None:
        body = problem(api.request("GET", "/api/v1/architectures/vgg", params=query), 422, "invalid_query")
        assert [error["pointer"] for error in body["errors"]] == [pointer]


class TestComparison:
    def test_it_is_computed_from_the_networks(self, api: TestClient) -> None:
        items = {item["architecture"]: item for item in api.get(COMPARE).json()["items"]}
        assert {name: item["parameters"] for name, item in items.items()} == {
            "lenet": 83_976,
            "alexnet": 58_368_788,
            "vgg": 134_359_380,
            "mycnn": 21_311_956,
            "transfer": 37_622_868,
        }
        assert {name: items[name]["layers"] for name in ("lenet", "alexnet", "vgg", "mycnn")} == {
            "lenet": 5,
            "alexnet": 8,
            "vgg": 16,
            "mycnn": 34,
        }
        assert items["alexnet"]["filter_sizes"] == ["11x11", "5x5", "3x3"]
        assert items["lenet"]["pooling"] == ["average 2x2"]
        assert items["vgg"]["dropout"] == [0.5, 0.5]

    def test_presets_by_name(self, api: TestClient) -> None:
        items = api.get(COMPARE, params={"names": "lenet:lenet5,mycnn:resnet34", "classes": 10}).json()["items"]
        assert [item["input_size"] for item in items] == ["32x32x3", "224x224x3"]

    def test_as_csv_and_markdown(self, api: TestClient) -> None:
        table = list(csv.DictReader(io.StringIO(api.get(COMPARE, params={"format": "csv"}).text)))
        assert [row["architecture"] for row in table] == ["lenet", "alexnet", "vgg", "mycnn", "transfer"]
        answer = api.get(COMPARE, headers={"Accept": "text/markdown"})
        assert answer.headers["content-type"].startswith("text/markdown")
        assert "| lenet | 5 | 5x5 | relu | 83976 |" in answer.text

    def test_an_unknown_one_is_named(self, api: TestClient) -> None:
        problem(api.request("GET", COMPARE, params={"names": "lenet,resnet"}), 404, "not_found")


class TestValidation:
    def test_phases_tell_what_each_trains(self, api: TestClient) -> None:
        spec = json.loads(Path("examples/notebook/transfer-fine-tuned.json").read_text(encoding="utf-8"))
        answer = api.post(VALIDATE, json=spec).json()
        assert answer["network"] == {
            "parameters": 37_622_868,
            "trainable_parameters": 22_891_156,
            "output_shape": [20],
        }
        assert answer["phases"] == [
            {"first_epoch": 1, "epochs": 8, "learning_rate": 0.001, "trainable_parameters": 22_891_156},
            {"first_epoch": 9, "epochs": 8, "learning_rate": 1e-05, "trainable_parameters": 35_870_356},
        ]
        assert answer["estimate"]["based_on"] == "calibration"
        assert answer["estimate"]["memory_bytes"] > 37_622_868 * 4
        assert answer["estimate"]["epoch_seconds"] > 0

    def test_a_job_tells_of_its_network_what_validating_told(self, api: TestClient, database: Database) -> None:
        spec = {"dataset": "digits", "architecture": "lenet"}
        network = api.post(VALIDATE, json=spec).json()["network"]
        job = rows.submit(database)
        assert api.get(f"/api/v1/jobs/{job}").json()["network"] == network
        assert api.get("/api/v1/jobs").json()["items"][0]["network"] == network
        rows.write(database, job, network=None)  # as in a row from before
        assert api.get(f"/api/v1/jobs/{job}").json()["network"] is None

    def test_times_come_from_an_earlier_job_of_the_same_network(self, api: TestClient, database: Database) -> None:
        attempt = rows.start(database)
        for number in (1, 2):
            with database.transaction() as session:
                record_epoch(session, attempt, rows.epoch(number), {"epoch": number}, best=True)
        answer = api.post(VALIDATE, json={"dataset": "digits", "architecture": "lenet", "epochs": 99}).json()
        assert answer["estimate"]["based_on"] == f"job {attempt.job_id}"
        other = api.post(VALIDATE, json={"dataset": "digits", "architecture": "lenet", "batch_size": 64}).json()
        assert other["estimate"]["based_on"] == "calibration"


class TestDonors:
    def test_a_job_and_a_model_lend_their_base(self, api: TestClient, database: Database) -> None:
        job, model = lend(database, architecture=UNTRAINED)
        for weights in ({"job": job}, {"model": model}, {"model": model, "version": 1}):
            answer = api.post(VALIDATE, json=self.spec(weights))
            assert answer.status_code == 200, answer.text
        assert answer.json()["spec"]["architecture"]["weights"]["version"] == 1

    def test_a_whole_network_is_lent_whatever_its_dropout(self, api: TestClient, database: Database) -> None:
        job, _ = lend(database, architecture={**UNTRAINED, "dropout": 0.5})
        assert api.post(VALIDATE, json=self.spec({"job": job, "part": "network"})).status_code == 200

    def test_and_whatever_it_started_with(self, api: TestClient, database: Database) -> None:
        job, _ = lend(database, architecture={**UNTRAINED, "initializer": "he_normal"})
        assert api.post(VALIDATE, json=self.spec({"job": job, "part": "network"})).status_code == 200

    def test_vgg_s_preset_is_such_a_base(self, api: TestClient, database: Database) -> None:
        job, _ = lend(
            database,
            architecture={"name": "vgg", "preset": "vgg16", "input_size": 32},
            dataset={"name": "digits", "color": "rgb"},
        )
        assert api.post(VALIDATE, json=self.spec({"job": job})).status_code == 200

    @pytest.mark.parametrize(
        ("lent", "weights", "told"),
        [
            ({"architecture": "lenet"}, {}, "lenet with no published base, not vgg16"),
            (
                {"architecture": "vgg", "dataset": {"name": "digits", "image_size": 32}},
                {},
                "vgg with no published base",
            ),
            ({"architecture": {**UNTRAINED, "base": "resnet50"}}, {}, "the base resnet50, not vgg16"),
            ({"architecture": {**UNTRAINED, "depth": 18}}, {"part": "network"}, "with other options"),
        ],
        ids=str,
    )
    def test_a_mismatch_is_named(
        self, api: TestClient, database: Database, lent: dict[str, Any], weights: dict[str, Any], told: str
    ) -> None:
        job, _ = lend(database, **lent)
        body = problem(api.post(VALIDATE, json=self.spec({"job": job, **weights})), 422, "invalid_job_spec")
        assert [error["pointer"] for error in body["errors"]] == ["/architecture/weights"]
        assert told in body["errors"][0]["detail"]

    def test_a_job_that_has_not_published_lends_nothing(self, api: TestClient, database: Database) -> None:
        job = rows.submit(database, architecture=UNTRAINED)
        body = problem(api.post(VALIDATE, json=self.spec({"job": job})), 422, "invalid_job_spec")
        assert "has published no weights; it is QUEUED" in body["errors"][0]["detail"]

    def test_a_job_whose_spec_cannot_be_read_lends_nothing(self, api: TestClient, database: Database) -> None:
        job, _ = lend(database, architecture=UNTRAINED)
        rows.write(database, job, spec={**rows.read(database, job).spec, "epochs": 10**6})
        body = problem(api.post(VALIDATE, json=self.spec({"job": job})), 422, "invalid_job_spec")
        assert "cannot read the spec" in body["errors"][0]["detail"]

    def test_another_tenants_job_is_not_there(self, api: TestClient, database: Database) -> None:
        job = rows.submit(database, tenant="other", architecture=UNTRAINED)
        body = problem(api.post(VALIDATE, json=self.spec({"job": job})), 422, "invalid_job_spec")
        assert "there is no job" in body["errors"][0]["detail"]

    @staticmethod
    def spec(weights: dict[str, Any]) -> dict[str, Any]:
        return {"dataset": "digits", "architecture": {"name": "transfer", "weights": weights}}
