"""Users' own images, over HTTP, with real processes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import cifar100_archive
from pictures import SHAPES, picture, zip_of_shapes
from PIL import Image
from stack import Stack, running_stack
from uploads import upload, wait_imported


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("datasets")) as running:
        yield running


class TestUpload:
    def test_folders_of_pictures_are_stored_shown_and_trained_from(self, stack: Stack) -> None:
        answer = upload(stack, "shapes", zip_of_shapes(60))
        assert answer.status_code == 202, answer.text
        assert answer.headers["Location"] == "/api/v1/datasets/shapes"
        dataset = wait_imported(stack, "shapes")
        assert dataset["state"] == "READY", dataset
        assert [(entry["label"], entry["train"]) for entry in dataset["classes"]] == [(kind, 60) for kind in SHAPES]
        assert not dataset["image_sizes"]["uniform"]
        assert "mixed_sizes" in {warning["code"] for warning in dataset["report"]["warnings"]}

        shown = stack.http.get("/api/v1/datasets/shapes/images/train/61")
        original = Image.open(io.BytesIO(picture("square", 1)))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.content))), np.asarray(original))
        sheet = Image.open(io.BytesIO(stack.http.get("/api/v1/datasets/shapes/contact-sheet.png").content))
        assert sheet.format == "PNG"

        job = stack.wait_for(stack.submit(dataset="shapes", epochs=12)["id"], "SUCCEEDED")
        assert {"mixed_sizes"} <= {warning["code"] for warning in job["warnings"]}
        assert job["evaluation"]["test_accuracy"] > 0.6
        predicted = stack.http.post(
            "/api/v1/predict/lenet?dataset=shapes", content=picture("disc", 999), headers={"Content-Type": "image/png"}
        )
        assert predicted.status_code == 200, predicted.text
        assert {entry["label"] for entry in predicted.json()["predictions"][0]["top"]} == set(SHAPES)

    def test_the_notebooks_classes_come_from_an_archive_in_cifars_own_form(self, stack: Stack) -> None:
        assert (
            upload(stack, "notebook", cifar100_archive(per_class=20, test_per_class=4), "c.tar.gz").status_code == 202
        )
        dataset = wait_imported(stack, "notebook")
        assert dataset["state"] == "READY", dataset
        assert len(dataset["classes"]) == 100
        spec = {
            "dataset": {"name": "notebook", "classes": list(range(20)), "split": "last", "view": "first-twenty"},
            "architecture": "lenet",
            "epochs": 1,
        }
        answer = stack.http.post("/api/v1/jobs?validate_only=true", json=spec).json()
        counts = {part: answer["dataset"][part] for part in ("train", "validation", "test")}
        assert counts == {"train": 340, "validation": 60, "test": 80}
        assert answer["dataset"]["classes"][:3] == ["apple", "aquarium_fish", "baby"]
        assert answer["dataset"]["classes"][-1] == "cattle"
        assert answer["network"]["parameters"] == 83_976
        job = stack.wait_for(stack.http.post("/api/v1/jobs", json=spec).json()["id"], "SUCCEEDED")
        assert job["model"]["name"] == "first-twenty.lenet"

    def test_a_view_s_name_means_one_thing(self, stack: Stack) -> None:
        spec = {"dataset": {"name": "digits", "classes": ["0", "1"], "view": "zero-or-one"}, "architecture": "lenet"}
        assert stack.http.post("/api/v1/jobs", json={**spec, "epochs": 1}).status_code == 201
        spec["dataset"] = {"name": "digits", "classes": ["0", "2"], "view": "zero-or-one"}
        for query in ("", "?validate_only=true"):
            answer = stack.http.post(f"/api/v1/jobs{query}", json=spec)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["pointer"] == "/dataset/view"
        spec["dataset"] = {"name": "digits", "classes": ["0", "2"], "view": "cifar10"}
        assert stack.http.post("/api/v1/jobs", json=spec).json()["errors"][0]["code"] == "view_name_taken"

    def test_the_same_files_again_give_the_dataset_that_is_there(self, stack: Stack) -> None:
        content = zip_of_shapes(4)
        assert upload(stack, "twice", content).status_code == 202
        first = wait_imported(stack, "twice")
        again = upload(stack, "twice", content)
        assert again.status_code == 200
        assert again.json()["digest"] == first["digest"]
        other_name = upload(stack, "thrice", content)
        assert other_name.status_code == 202
        assert wait_imported(stack, "thrice")["digest"] == first["digest"]
        assert len(list((stack.settings.data_dir / "artifacts" / "datasets").glob("*"))) >= 1
        assert self.folders_of(stack, "twice") == self.folders_of(stack, "thrice")

    def folders_of(self, stack: Stack, name: str) -> str | None:
        from core.repositories.datasets import get_dataset
        from core.tables import LOCAL_TENANT

        with stack.database.snapshot() as session:
            return get_dataset(session, LOCAL_TENANT, name).path

    def test_other_files_under_a_taken_name_are_refused(self, stack: Stack) -> None:
        assert upload(stack, "taken", zip_of_shapes(3)).status_code == 202
        answer = upload(stack, "taken", zip_of_shapes(4))
        assert answer.status_code == 409
        assert answer.json()["code"] == "dataset_exists"

    def test_of_two_uploads_at_once_under_one_name_one_wins(self, stack: Stack) -> None:
        contents = [zip_of_shapes(3 + number) for number in range(2)]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda content: upload(stack, "contested", content), contents))
        assert sorted(answer.status_code for answer in answers) == [202, 409]

    def test_events_can_be_followed_and_resumed(self, stack: Stack) -> None:
        upload(stack, "followed", zip_of_shapes(5))
        with stack.http.stream("GET", "/api/v1/datasets/followed/events") as answer:
            lines = list(answer.iter_lines())
        ids = [int(line[4:]) for line in lines if line.startswith("id: ")]
        assert ids == list(range(1, len(ids) + 1))
        states = [json.loads(line[6:])["state"] for line in lines if line.startswith("data: ") and '"state"' in line]
        assert states[0] == "IMPORTING"
        assert states[-1] == "READY"
        with stack.http.stream(
            "GET", "/api/v1/datasets/followed/events", headers={"Last-Event-ID": str(ids[-2])}
        ) as answer:
            rest = [line for line in answer.iter_lines() if line.startswith("id: ")]
        assert rest == [f"id: {ids[-1]}"]

    def test_an_unchanged_one_is_304_and_a_change_is_waited_for(self, stack: Stack) -> None:
        known = upload(stack, "watched", zip_of_shapes(6)).headers["ETag"]
        seen = {known}
        while (dataset := self.next_version(stack, "watched", known)) and dataset["state"] == "IMPORTING":
            assert dataset["etag"] not in seen
            known = dataset["etag"]
            seen.add(known)
        headers = {"If-None-Match": f'"other", W/{dataset["etag"]}'}
        assert stack.http.get("/api/v1/datasets/watched", headers=headers).status_code == 304

    def next_version(self, stack: Stack, name: str, known: str) -> dict[str, Any]:
        answer = stack.http.get(f"/api/v1/datasets/{name}", headers={"If-None-Match": known, "Prefer": "wait=30"})
        if answer.status_code == 304:  # it had ended already
            answer = stack.http.get(f"/api/v1/datasets/{name}")
        dataset: dict[str, Any] = answer.json()
        return dataset

    def test_the_command_line_takes_a_folder(self, stack: Stack, tmp_path: Path) -> None:
        for kind in SHAPES:
            (tmp_path / "My Photos" / kind).mkdir(parents=True)
            for number in range(4):
                (tmp_path / "My Photos" / kind / f"{number}.png").write_bytes(picture(kind, number))
        kerasd = Path(sys.executable).with_name("kerasd")
        added = subprocess.run(
            [kerasd, "dataset", "add", tmp_path / "My Photos", "--url", stack.url],
            capture_output=True,
            text=True,
            check=False,
        )
        assert added.returncode == 0, added.stdout + added.stderr
        assert "READY" in added.stdout
        shown = subprocess.run(
            [kerasd, "dataset", "show", "my-photos", "--url", stack.url], capture_output=True, text=True, check=True
        )
        assert all(kind in shown.stdout for kind in SHAPES)

    def test_an_unusable_form_is_told_at_once(self, stack: Stack) -> None:
        answer = upload(stack, "Not A Name", zip_of_shapes(3), on_corrupt="ignore", colour="blue")
        assert answer.status_code == 422
        pointers = {error["pointer"] for error in answer.json()["errors"]}
        assert pointers == {"/name", "/on_corrupt", "/colour"}

    def test_pages_hold_every_dataset_once(self, stack: Stack) -> None:
        names: list[str] = []
        query: dict[str, Any] | None = {"page_size": 2}
        while query is not None:
            page = stack.http.get("/api/v1/datasets", params=query).json()
            names += [item["name"] for item in page["items"]]
            token = page["next_page_token"]
            query = {"page_size": 2, "page_token": token} if token else None
        assert len(names) == len(set(names)) >= 3
        assert "digits" in names


class TestDelete:
    def test_a_dataset_and_its_files_go(self, stack: Stack) -> None:
        upload(stack, "short-lived", zip_of_shapes(3))
        wait_imported(stack, "short-lived")
        folder = stack.settings.data_dir / "artifacts" / str(TestUpload().folders_of(stack, "short-lived"))
        shared = self.used_elsewhere(stack, folder.name)
        assert stack.http.delete("/api/v1/datasets/short-lived").status_code == 204
        assert stack.http.get("/api/v1/datasets/short-lived").status_code == 404
        assert folder.exists() == shared

    def used_elsewhere(self, stack: Stack, folder: str) -> bool:
        from sqlalchemy import func, select

        from core.tables import DatasetRow

        with stack.database.snapshot() as session:
            query = select(func.count()).select_from(DatasetRow).where(DatasetRow.path == f"datasets/{folder}")
            return (session.scalar(query) or 0) > 1

    def test_it_is_refused_while_a_job_needs_it(self, stack: Stack) -> None:
        upload(stack, "needed", zip_of_shapes(12))
        wait_imported(stack, "needed")
        job = stack.submit(dataset="needed", epochs=100_000)["id"]
        answer = stack.http.delete("/api/v1/datasets/needed")
        assert answer.status_code == 409
        assert answer.json()["code"] == "dataset_in_use"
        stack.http.post(f"/api/v1/jobs/{job}:cancel")
        stack.wait_for(job, "CANCELLED")
        assert stack.http.delete("/api/v1/datasets/needed").status_code == 204
        assert stack.job(job)["state"] == "CANCELLED"


class TestBuiltin:
    def test_a_set_that_cannot_be_had_says_what_to_do(self, stack: Stack) -> None:
        answer = stack.http.post("/api/v1/datasets", json={"builtin": "cifar100"})
        assert answer.status_code in (202, 422)
        job = stack.submit(dataset="fashion_mnist", epochs=1)
        ended = stack.wait_for(job["id"], "FAILED")
        assert ended["reason"] == "INVALID_DATASET"
        assert "KERASD_DATASET_FILES" in ended["detail"]
