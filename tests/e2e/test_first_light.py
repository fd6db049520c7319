"""The main job, end to end: submit over HTTP, train on real digits, watch, publish."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Stack, running_stack, until

KERASD = Path(sys.executable).with_name("kerasd")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A kerasd with an empty data folder, as a new user has it."""
    with running_stack(tmp_path_factory.mktemp("first")) as stack:
        yield stack


@pytest.fixture(scope="module")
def trained(service: Stack) -> dict[str, Any]:
    """A job that has trained LeNet on the digits."""
    return service.wait_ended(service.submit(epochs=12, tags={"course": "cv"})["id"])


class TestTraining:
    def test_it_succeeds_with_good_validation_accuracy(self, trained: dict[str, Any]) -> None:
        assert trained["state"] == "SUCCEEDED", trained
        assert trained["best_epoch"]["val_accuracy"] >= 0.95
        assert trained["evaluation"]["test_accuracy"] >= 0.93
        assert trained["model"] == {"name": "digits.lenet", "version": 1}

    def test_every_epoch_is_kept(self, service: Stack, trained: dict[str, Any]) -> None:
        epochs = service.http.get(f"/api/v1/jobs/{trained['id']}/epochs").json()["items"]
        assert [epoch["epoch"] for epoch in epochs] == list(range(1, 13))
        assert all(epoch["images_per_second"] > 0 for epoch in epochs)
        later = service.http.get(f"/api/v1/jobs/{trained['id']}/epochs", params={"after": 10}).json()["items"]
        assert later == epochs[10:]

    def test_the_best_epoch_is_the_one_with_the_best_validation_accuracy(
        self, service: Stack, trained: dict[str, Any]
    ) -> None:
        epochs = service.http.get(f"/api/v1/jobs/{trained['id']}/epochs").json()["items"]
        assert trained["best_epoch"] == max(epochs, key=lambda epoch: epoch["val_accuracy"])

    def test_the_evaluation_adds_up(self, service: Stack, trained: dict[str, Any]) -> None:
        evaluation = service.http.get(f"/api/v1/jobs/{trained['id']}/evaluation").json()
        matrix = evaluation["confusion_matrix"]
        assert evaluation["labels"] == [str(digit) for digit in range(10)]
        assert sum(map(sum, matrix)) == evaluation["images"] == 269
        hits = sum(matrix[number][number] for number in range(10))
        assert hits / 269 == pytest.approx(evaluation["test_accuracy"])
        assert [entry["support"] for entry in evaluation["per_class"]] == [sum(row) for row in matrix]
        assert evaluation["epoch"] == trained["best_epoch"]["epoch"]
        assert evaluation["last_epoch"]["epoch"] == 12

    def test_logs_tell_the_epochs(self, service: Stack, trained: dict[str, Any]) -> None:
        def whole() -> str | None:
            text = service.http.get(f"/api/v1/jobs/{trained['id']}/logs").text
            return text if "published" in text else None

        text = until(whole, 10, "the log has the trainer's last line")
        assert text.startswith("--- attempt 1 ---\n")
        assert "\nlenet with 82,826 parameters on digits" in text
        assert "epoch 12/12" in text

    def test_the_attempt_records_what_it_ran_with(self, service: Stack, trained: dict[str, Any]) -> None:
        from sqlalchemy import select

        from core.tables import AttemptRow

        with service.database.snapshot() as session:
            environment = session.scalars(
                select(AttemptRow.environment).where(AttemptRow.job_id == trained["id"])
            ).one()
        assert environment is not None
        assert len(environment["dataset_digest"]) == 64
        assert environment["versions"]["keras"]


class TestCurves:
    def test_png(self, service: Stack, trained: dict[str, Any]) -> None:
        answer = service.http.get(f"/api/v1/jobs/{trained['id']}/curves.png")
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")

    def test_svg_has_solid_and_dashed_lines(self, service: Stack, trained: dict[str, Any]) -> None:
        answer = service.http.get(f"/api/v1/jobs/{trained['id']}/curves.svg")
        assert answer.headers["content-type"] == "image/svg+xml"
        assert "stroke-dasharray" in answer.text

    def test_csv_has_a_line_for_each_epoch(self, service: Stack, trained: dict[str, Any]) -> None:
        lines = service.http.get(f"/api/v1/jobs/{trained['id']}/curves.csv").text.splitlines()
        assert len(lines) == 13
        assert lines[0].startswith("epoch,loss,accuracy")


class TestPrediction:
    def test_the_published_model_classifies_held_out_digits(self, service: Stack, trained: dict[str, Any]) -> None:
        right = 0
        images = held_out_digits(20)
        for content, truth in images:
            answer = service.http.post("/api/v1/predict/lenet", content=content, headers={"Content-Type": "image/png"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["model"] == {"name": "digits.lenet", "version": 1, "job": trained["id"]}
            right += answer.json()["predictions"][0]["label"] == truth
        assert right >= 18

    def test_the_api_never_maps_tensorflow(self, service: Stack, trained: dict[str, Any]) -> None:
        pid = service._parts["api"].pid
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "onnxruntime" in mapped
        assert "tensorflow" not in mapped

    def test_the_api_stays_small(self, service: Stack, trained: dict[str, Any]) -> None:
        import psutil

        assert psutil.Process(service._parts["api"].pid).memory_info().rss < 250e6


class TestWatching:
    def test_inverted_digits_are_flagged_within_200_requests_and_the_test_split_is_not(
        self, service: Stack, trained: dict[str, Any]
    ) -> None:
        digits = [content for content, _ in held_out_digits(269)]

        def drift_after(images: list[bytes]) -> dict[str, Any]:
            for content in images:
                service.http.post("/api/v1/predict/lenet", content=content, headers={"Content-Type": "image/png"})
            traffic = service.http.get("/api/v1/models/digits.lenet/traffic").json()
            drift: dict[str, Any] = traffic["versions"][0]["drift"]
            return drift

        usual = drift_after(digits)
        assert (usual["verdict"], usual["images"] >= 269) == ("none", True), usual
        inverted = drift_after([inverse(content) for content in digits[:200]])
        assert inverted["verdict"] == "drift", inverted

    def test_the_command_line_draws_a_heat_map(self, service: Stack, trained: dict[str, Any], tmp_path: Path) -> None:
        import numpy as np
        from PIL import Image

        (content, _), *_ = held_out_digits(1)
        (tmp_path / "digit.png").write_bytes(content)
        command: list[str | Path] = [
            KERASD,
            "explain",
            tmp_path / "digit.png",
            "--architecture",
            "lenet",
            "--url",
            service.url,
        ]
        shown = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
        told = json.loads(shown)
        assert told["method"] == "grad_cam"
        assert np.array(told["heat"]).shape == (32, 32)
        subprocess.run(command, check=True)
        with Image.open(tmp_path / "digit.heat.png") as picture:
            assert picture.size == (256, 256)


class TestTasks:
    def test_a_batch_of_the_test_split_is_as_accurate_as_the_evaluation_says(
        self, service: Stack, trained: dict[str, Any], tmp_path: Path
    ) -> None:
        target = tmp_path / "rows.csv"
        options = ["--model", "digits.lenet", "--dataset", "digits", "--split", "test", "--output", str(target)]
        kerasd(service, "predict-batch", *options)
        with target.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 269
        right = sum(row["label"] == row["predicted"] for row in rows)
        assert right / 269 == pytest.approx(trained["evaluation"]["test_accuracy"])

    def test_a_folder_is_classified(self, service: Stack, trained: dict[str, Any], tmp_path: Path) -> None:
        folder, target = tmp_path / "digits", tmp_path / "rows.jsonl"
        folder.mkdir()
        for number, (content, _) in enumerate(held_out_digits(5)):
            (folder / f"{number}.png").write_bytes(content)
        options = ["--model", "digits.lenet", "--format", "jsonl", "--output", str(target)]
        kerasd(service, "predict-batch", str(folder), *options)
        rows = [json.loads(line) for line in target.read_text().splitlines()]
        assert [row["image"] for row in rows] == [f"{number}.png" for number in range(5)]

    def test_a_model_is_saved_as_keras(self, service: Stack, trained: dict[str, Any], tmp_path: Path) -> None:
        target = tmp_path / "lenet.keras"
        kerasd(service, "export", "digits.lenet", "--format", "keras", "--output", str(target))
        assert target.read_bytes().startswith(b"PK")
        assert [path.name for path in tmp_path.iterdir()] == ["lenet.keras"]


def kerasd(service: Stack, *arguments: str) -> None:
    """Runs the command, which must succeed."""
    done = subprocess.run([KERASD, *arguments, "--url", service.url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def inverse(png: bytes) -> bytes:
    import io

    from PIL import Image, ImageOps

    file = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(png)).convert("L")).save(file, "PNG")
    return file.getvalue()


def held_out_digits(count: int) -> list[tuple[bytes, str]]:
    """PNGs of digits from the default split's test part, with their labels."""
    import io

    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    from core.splits import split
    from core.validation import check_spec
    from core.views import split_plan

    bundle = load_digits()
    checked = check_spec({"dataset": "digits", "architecture": "lenet"})
    test = split(bundle.target, 10, split_plan(checked.spec.dataset)).test[:count]
    images = []
    for index in test:
        file = io.BytesIO()
        pixels = np.round(bundle.images[index] * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        images.append((file.getvalue(), str(bundle.target[index])))
    return images
