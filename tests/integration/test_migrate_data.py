"""A laptop's data folder moved into a cluster: what is copied, what is refused, and a copy that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rows
from datasets import import_files, register
from networks import SIDE, publish
from pictures import zip_of_shapes
from rich.progress import Progress
from servers import S3, Postgres
from sqlalchemy import select, text, update
from starlette.testclient import TestClient

from cli.moving import SIGNALLED
from core.artifacts import open_store
from core.database import Database
from core.donors import no_donors
from core.repositories.checkpoints import Checkpoint
from core.repositories.studies import create_study
from core.repositories.task_attempts import claim_task, finish_task
from core.repositories.tasks import NewTask, create_task
from core.repositories.views import claim_view_name
from core.settings import Settings
from core.states import State as JobState
from core.tables import LOCAL_TENANT, DatasetRow, EventRow, JobRow, StudyRunRow, TrafficRow, utc_now
from core.validation import builtin_dataset
from migrations.data import CannotMove, State, main, move
from migrations.data_rows import TABLES
from service.app import create_app
from service.studies.checking import check_study
from service.studies.submission import new_study

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Place:
    """A database with its artifacts, on the laptop or in the cluster."""

    settings: Settings
    database: Database

    @property
    def state(self) -> State:
        return State(self.database, open_store(self.settings))

    def environment(self) -> dict[str, str]:
        named = {f"KERASD_{name.upper()}": getattr(self.settings, name) for name in self.settings.model_fields_set}
        return {
            name: value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            for name, value in named.items()
        }

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of all tables."""
        with self.database.snapshot() as session:
            return {
                table.name: [
                    dict(row) for row in session.execute(select(table).order_by(*table.primary_key)).mappings()
                ]
                for table in TABLES
            }

    def answers(self, *targets: str) -> list[Any]:
        """What the API over this place says."""
        with TestClient(create_app(self.settings)) as api:
            return [api.get(target).raise_for_status().json() for target in targets]


@pytest.fixture(scope="module")
def used_folder(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Path:
    """Datasets, jobs in several states, a model of two versions, a checkpoint: rows in every table."""
    folder = tmp_path_factory.mktemp("laptop")
    settings = Settings(data_dir=folder / "data", offline=True)
    settings.data_dir.mkdir()
    shutil.copy(migrated_sqlite, settings.data_dir / "kerasd.sqlite3")
    photos = folder / "photos.zip"
    photos.write_bytes(zip_of_shapes(4))
    with closing(Database(settings.database)) as database:
        for name, files in (("photos", [photos]), ("digits", [])):
            assert import_files(database, settings, name, *files).state == "READY"
        register(database, settings, "waiting", [photos])
        for model in ("first.onnx", "second.onnx"):
            publish(database, open_store(settings), model)
        _pause_with_checkpoint(Place(settings, database))
        _predict_batches(Place(settings, database))
        _begin_a_study(Place(settings, database))
        rows.submit(database, tags={"course": "cv"})
    return settings.data_dir


@pytest.fixture
def laptop(used_folder: Path, tmp_path: Path) -> Iterator[Place]:
    """A copy of the used folder."""
    folder = tmp_path / "laptop"
    shutil.copytree(used_folder, folder)
    settings = Settings(data_dir=folder, broker_url=NOWHERE, offline=True)
    with closing(Database(settings.database)) as database:
        yield Place(settings, database)


def _pause_with_checkpoint(place: Place) -> None:
    from core.repositories.attempts import Ending, append_log, end_attempt
    from core.repositories.results import record_epoch

    attempt = rows.start(place.database, epochs=5)
    stored = open_store(place.settings).put(f"checkpoints/{attempt.job_id}/1-1", b"weights" * 1000)
    checkpoint = Checkpoint(1, stored.path, stored.sha256, stored.bytes)
    with place.database.transaction() as session:
        progress = {"epoch": 1, "epochs": 5, "step": 9, "steps": 9, "eta_seconds": 4.0}
        record_epoch(session, attempt, rows.epoch(1), progress, best=True, checkpoint=checkpoint)
        append_log(session, attempt, "a line\n")
        end_attempt(session, attempt, Ending(JobState.QUEUED, outcome="released", counts_as_failure=False))
        session.execute(update(JobRow).where(JobRow.id == attempt.job_id).values(state=JobState.PAUSED))
        claim_view_name(session, LOCAL_TENANT, "my-view", "photos@12345678")
        session.execute(
            text(
                "INSERT INTO idempotency_keys (tenant_id, key, body_sha256, job_id, answer, created_at) "
                "VALUES ('local', 'k', '0', :job, '{}', '2026-01-02 03:04:05.678')"
            ),
            {"job": attempt.job_id},
        )


def _predict_batches(place: Place) -> None:
    """One that is finished, one that waits, and what an API process saw of requests."""
    store = open_store(place.settings)
    with place.database.transaction() as session:
        create_task(session, LOCAL_TENANT, NewTask("batch_prediction", {}), None)
        claimed = claim_task(session, rows.HOLDER, "batch_prediction")
        assert claimed is not None
        stored = store.put(f"{claimed.attempt.folder}/results.csv", b"image,label\n")
        finish_task(session, claimed.attempt, {"files": {"results": vars(stored)}})
        upload = {"name": "many.zip", **vars(store.put("tasks/waiting-upload/0", b"PK"))}
        create_task(session, LOCAL_TENANT, NewTask("batch_prediction", {}, None, (upload,), "waiting"), None)
        traffic = {"name": "digits.lenet", "version": 1, "process": "api", "data": {}, "updated_at": utc_now()}
        session.add(TrafficRow(tenant_id=LOCAL_TENANT, **traffic))


def _begin_a_study(place: Place) -> None:
    """With a job of its first run."""
    base = {"dataset": "digits", "architecture": "lenet", "epochs": 2}
    body = {"name": "which?", "base": base, "space": {"batch_size": [32, 64]}, "seeds": 2}
    checked = check_study(body, builtin_dataset, no_donors, lambda _: True)
    job = rows.submit(place.database)
    with place.database.transaction() as session:
        study = create_study(session, LOCAL_TENANT, new_study(checked), None)
        session.get_one(StudyRunRow, (study.id, 1, 0)).job_id = job


@pytest.fixture(params=("postgres-s3", pytest.param("sqlite-folder", marks=pytest.mark.long)))
def cluster(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> Iterator[Place]:
    """Migrated and empty."""
    folder = tmp_path / "cluster"
    if request.param == "sqlite-folder":
        folder.mkdir()
        shutil.copy(migrated_sqlite, folder / "other.sqlite3")
        yield from _place(folder, f"sqlite:///{folder / 'other.sqlite3'}", {"artifacts_url": str(folder / "shared")})
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    server: S3 = request.getfixturevalue("s3")
    with postgres.database(migrated=True) as url:
        yield from _place(folder, url, server.fields())


def _place(folder: Path, url: str, artifacts: Mapping[str, Any]) -> Iterator[Place]:
    settings = Settings(data_dir=folder, database_url=url, broker_url=NOWHERE, **artifacts)
    with closing(Database(url)) as database:
        yield Place(settings, database)


def moved(laptop: Place, cluster: Place, **options: bool) -> Any:
    return move(laptop.state, cluster.state, Progress(disable=True), **options)


def run(laptop: Place, cluster: Place, **environment: str) -> subprocess.CompletedProcess[str]:
    """`kerasd migrate-data` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "migrate-data", "--from", str(laptop.settings.data_dir)],
        env={**os.environ, **cluster.environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class TestMove:
    def test_every_row_arrives_as_it_was(self, laptop: Place, cluster: Place) -> None:
        before = laptop.tables()
        assert all(before.values()), [name for name, found in before.items() if not found]
        counts = moved(laptop, cluster).rows
        assert cluster.tables() == before
        assert counts == {name: len(found) for name, found in before.items()}

    def test_the_api_says_the_same_over_both(self, laptop: Place, cluster: Place) -> None:
        moved(laptop, cluster)
        before = laptop.tables()
        targets = ["/api/v1/jobs", "/api/v1/models", "/api/v1/datasets"]
        targets += [f"/api/v1/jobs/{row['id']}{part}" for row in before["jobs"] for part in ("", "/epochs")]
        targets += [f"/api/v1/jobs/{row['job_id']}/evaluation" for row in before["evaluations"]]
        assert cluster.answers(*targets) == laptop.answers(*targets)

    def test_models_predict_and_pictures_are_shown(self, laptop: Place, cluster: Place) -> None:
        moved(laptop, cluster)
        bright = {"instances": [[[255] * SIDE] * SIDE]}
        with TestClient(create_app(cluster.settings)) as api:
            answer = api.post("/api/v1/predict/lenet?dataset=digits", json=bright).json()
            assert answer["predictions"][0]["label"] == "bright"
            for target in ("images/train/11", "contact-sheet.png"):
                assert api.get(f"/api/v1/datasets/photos/{target}").status_code == 200

    def test_new_rows_take_the_next_numbers(self, laptop: Place, cluster: Place) -> None:
        moved(laptop, cluster)
        with cluster.database.transaction() as session:
            session.execute(update(JobRow).where(JobRow.state == JobState.QUEUED).values(state=JobState.PAUSED))
        assert publish(cluster.database, open_store(cluster.settings), "third.onnx") == 3

    def test_what_is_absent_stays_null(self, laptop: Place, cluster: Place) -> None:
        moved(laptop, cluster)
        with cluster.database.snapshot() as session:
            waiting = session.scalars(select(DatasetRow.name).where(DatasetRow.content.is_(None))).all()
        assert waiting == ["waiting"]

    def test_characters_that_postgres_cannot_store_are_replaced(self, laptop: Place, cluster: Place) -> None:
        with laptop.database.transaction() as session:
            session.execute(update(EventRow).where(EventRow.kind == "log").values(data={"text": "a\0b"}))
        moved(laptop, cluster)
        logs = [row["data"]["text"] for row in cluster.tables()["events"] if row["kind"] == "log"]
        assert logs == ["a\N{REPLACEMENT CHARACTER}b"]


class TestFiles:
    def test_every_file_that_a_row_names_is_there_and_no_other(self, laptop: Place, cluster: Place) -> None:
        for folder in ("datasets", "uploads"):
            open_store(laptop.settings).put(f"{folder}/left-by-a-crash/0", b"x")
        result = moved(laptop, cluster)
        source, target = open_store(laptop.settings), open_store(cluster.settings)
        for folder in ("uploads", "datasets", "checkpoints", "local"):
            named = set(source.entries(folder)) - {"left-by-a-crash", "photos"}
            assert set(target.entries(folder)) == named != set()
        assert result.copied > 5
        assert (result.there_already, result.left_out) == (0, ())

    def test_damaged_ones_are_named_and_nothing_becomes_visible(self, laptop: Place, cluster: Place) -> None:
        open_store(laptop.settings).put("local/first.onnx", b"flipped")
        with pytest.raises(CannotMove, match=r"1 file\(s\).*local/first.onnx.*--skip-damaged"):
            moved(laptop, cluster)
        assert not any(cluster.tables().values())
        assert "first.onnx" not in open_store(cluster.settings).entries("local")

    def test_or_left_out(self, laptop: Place, cluster: Place) -> None:
        open_store(laptop.settings).delete("local/first.onnx")
        result = moved(laptop, cluster, skip_damaged=True)
        assert result.left_out == ("artifact local/first.onnx is missing from the store",)
        with TestClient(create_app(cluster.settings)) as api:
            bright = {"instances": [[[255] * SIDE] * SIDE]}
            answer = api.post("/api/v1/predict/lenet?dataset=digits&version=1", json=bright)
            assert (answer.status_code, answer.json()["code"]) == (503, "artifact_corrupt")
            assert api.post("/api/v1/predict/lenet?dataset=digits&version=2", json=bright).status_code == 200


class TestRefusals:
    def test_a_target_with_rows(self, laptop: Place, cluster: Place) -> None:
        moved(laptop, cluster)
        with pytest.raises(CannotMove, match=r"has rows already .*jobs 5"):
            moved(laptop, cluster)

    def test_a_source_with_a_running_job(self, laptop: Place, cluster: Place) -> None:
        running = rows.claim(laptop.database)
        assert running is not None
        with pytest.raises(CannotMove, match=f"{running.attempt.job_id} RUNNING.*kerasd pause"):
            moved(laptop, cluster)

    def test_a_source_that_imports(self, laptop: Place, cluster: Place) -> None:
        with laptop.database.transaction() as session:
            session.execute(update(DatasetRow).where(DatasetRow.name == "waiting").values(lease_expires_at=1e12))
        with pytest.raises(CannotMove, match="importing waiting"):
            moved(laptop, cluster)

    @pytest.mark.parametrize("which", ["source", "target"])
    def test_another_schema_on_either_side(self, laptop: Place, cluster: Place, which: str) -> None:
        behind = laptop if which == "source" else cluster
        with behind.database.transaction() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        with pytest.raises(CannotMove, match=f"the {which}'s database is at revision 0001.*kerasd migrate"):
            moved(laptop, cluster)

    def test_the_same_database(
        self, laptop: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("KERASD_DATA_DIR", str(laptop.settings.data_dir))
        monkeypatch.delenv("KERASD_DATABASE_URL", raising=False)
        assert main(["--from", str(laptop.settings.data_dir)]) == 2
        assert "KERASD_DATABASE_URL" in capsys.readouterr().err

    def test_a_folder_without_a_database(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--from", str(tmp_path)]) == 2
        assert "kerasd.sqlite3" in capsys.readouterr().err


class TestCommand:
    @pytest.mark.parametrize("point", ["move.file", "move.before_commit"])
    def test_one_that_is_killed_is_simply_run_again(self, laptop: Place, cluster: Place, point: str) -> None:
        killed = run(laptop, cluster, KERASD_FAILPOINT=point)
        assert killed.returncode == SIGNALLED + signal.SIGKILL
        assert not any(cluster.tables().values())
        again = run(laptop, cluster)
        assert again.returncode == 0, again.stderr
        assert " 0 there already" not in again.stdout
        assert cluster.tables() == laptop.tables()

    def test_it_ends_with_a_count_for_each_table(self, laptop: Place, cluster: Place) -> None:
        done = run(laptop, cluster)
        assert done.returncode == 0, done.stderr
        for name, found in laptop.tables().items():
            assert f"{name} " in done.stdout
            assert any(line.split() == [name, str(len(found))] for line in done.stdout.splitlines())

    def test_a_folder_in_use_is_left_alone(self, laptop: Place, cluster: Place) -> None:
        from cli.folder import held_folder

        with held_folder(laptop.settings.data_dir):
            refused = run(laptop, cluster)
        assert refused.returncode == 2
        assert "another `kerasd up`" in refused.stderr
