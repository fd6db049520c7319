"""Imports under a lease, what they publish, and what jobs and names depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import numpy as np
import pytest
import rows
from archives import example, write_records, write_tar
from datasets import HOLDER, cifar100_archive, import_files, register, row_of, stored
from pictures import SHAPES, picture, zip_of_shapes
from servers import S3
from sqlalchemy import update

from core.artifacts import open_store
from core.database import SQLITE, Database, database_now
from core.dataset_images import read_image
from core.datasets import BUILTIN_DATASETS
from core.errors import DatasetExists, DatasetInUse, DatasetNotFound, FencedOut, ImageNotFound
from core.repositories.claims import Holder
from core.repositories.datasets import delete_dataset, find_dataset, need_dataset
from core.repositories.imports import (
    ImportAttempt,
    Rejection,
    claim_import,
    lost_imports,
    record_import_progress,
    reject_import,
    release_import,
    renew_import,
)
from core.repositories.views import claim_view_name, view_conflict
from core.settings import Settings
from core.splits import SplitCounts
from core.states import DatasetState
from core.tables import LOCAL_TENANT, DatasetRow
from core.validation import check_spec
from worker.exits import NO_STORE
from worker.importer import import_dataset
from worker.imports.downloads import DownloadFailed, RemoteFile, have_file
from worker.imports.supervisor import assignment_of
from worker.imports.sweeper import sweep_store


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url, offline=True)


@pytest.fixture
def anywhere(settings: Settings, artifacts: dict[str, Any]) -> Settings:
    """With artifacts in a folder and on S3 in turn."""
    return with_artifacts(settings, artifacts)


def with_artifacts(settings: Settings, artifacts: dict[str, Any]) -> Settings:
    return Settings(data_dir=settings.data_dir, database_url=settings.database_url, offline=True, **artifacts)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    file = tmp_path / "photos.zip"
    file.write_bytes(zip_of_shapes(4))
    return file


def claim(database: Database, holder: Holder = HOLDER) -> ImportAttempt | None:
    with database.transaction() as session:
        claimed = claim_import(session, holder)
    return claimed.attempt if claimed else None


class TestClaim:
    def test_an_import_is_claimed_once(self, database: Database, settings: Settings, photos: Path) -> None:
        register(database, settings, "photos", [photos])
        assert claim(database) is not None
        assert claim(database) is None

    def test_a_released_one_is_claimed_again_with_a_higher_fence(
        self, database: Database, settings: Settings, photos: Path
    ) -> None:
        register(database, settings, "photos", [photos])
        first = claim(database)
        assert first is not None
        with database.transaction() as session:
            release_import(session, first, "stopped", lost=False)
        second = claim(database)
        assert second is not None
        assert second.number == first.number + 1
        for write in (
            partial(renew_import, attempt=first),
            partial(record_import_progress, attempt=first, progress={}),
            partial(reject_import, attempt=first, rejection=Rejection("", [], 0)),
        ):
            with pytest.raises(FencedOut), database.transaction() as session:
                write(session)

    def test_too_many_lost_tries_reject_it(self, database: Database, settings: Settings, photos: Path) -> None:
        register(database, settings, "photos", [photos])
        for _ in range(3):
            attempt = claim(database)
            assert attempt is not None
            with database.transaction() as session:
                release_import(session, attempt, "the importer crashed", lost=True)
        assert row_of(database, "photos").state == DatasetState.REJECTED
        assert claim(database) is None

    def test_an_expired_lease_and_a_holder_of_this_host_are_found(
        self, database: Database, settings: Settings, photos: Path
    ) -> None:
        register(database, settings, "photos", [photos])
        attempt = claim(database)
        with database.snapshot() as session:
            assert [(found, expired) for found, _, expired in lost_imports(session, HOLDER.boot_id)] == [
                (attempt, False)
            ]
            assert lost_imports(session, "another boot") == []
        with database.transaction() as session:
            session.execute(update(DatasetRow).values(lease_expires_at=database_now() - 1))
        with database.snapshot() as session:
            assert [expired for _, _, expired in lost_imports(session, "another boot")] == [True]


class TestImport:
    def test_images_keep_their_order_pixels_and_labels(
        self, database: Database, anywhere: Settings, photos: Path
    ) -> None:
        row = import_files(database, anywhere, "photos", photos)
        dataset = stored(row)
        assert dataset.content.labels == SHAPES
        assert dataset.content.splits["train"].class_counts == (4, 4, 4)
        assert row.bytes == dataset.content.bytes
        store = open_store(anywhere)
        assert read_image(store, dataset, "train", 11).shape[2] == 3
        with pytest.raises(ImageNotFound):
            read_image(store, dataset, "train", 12)
        with pytest.raises(ImageNotFound):
            read_image(store, dataset, "test", 0)

    def test_equal_images_share_one_copy_and_one_digest(
        self, database: Database, settings: Settings, photos: Path
    ) -> None:
        first = import_files(database, settings, "photos", photos)
        second = import_files(database, settings, "same-photos", photos)
        assert (second.digest, second.path) == (first.digest, first.path)
        with database.transaction() as session:
            assert delete_dataset(session, LOCAL_TENANT, "photos") == [f"uploads/{first.id}"]
        with database.transaction() as session:
            assert delete_dataset(session, LOCAL_TENANT, "same-photos") == [f"uploads/{second.id}", first.path]

    def test_shards_of_tfrecord_are_one_dataset_with_their_own_splits(
        self, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        shards = []
        for name, first in (("train-00000-of-00002", 0), ("train-00001-of-00002", 6), ("test-00000-of-00001", 12)):
            examples = [
                example(picture(SHAPES[n % 2], n), n % 2, SHAPES[n % 2].encode()) for n in range(first, first + 6)
            ]
            shards.append(write_records(tmp_path / f"{name}.tfrecord", examples))
        content = stored(import_files(database, settings, "shards", *shards)).content
        assert content.labels == SHAPES[:2]
        assert {name: split.class_counts for name, split in content.splits.items()} == {"train": (6, 6), "test": (3, 3)}

    def test_folders_of_splits_are_kept(self, database: Database, settings: Settings, tmp_path: Path) -> None:
        counts = {"train": 8, "validation": 3, "test": 2}
        members = {
            f"{split}/{kind}/{number}.png": picture(kind, 100 * index + number)
            for index, (split, count) in enumerate(counts.items())
            for kind in SHAPES
            for number in range(count)
        }
        row = import_files(database, settings, "folders", write_tar(tmp_path / "folders.tar.gz", members))
        info = stored(row).content.info("folders")
        assert (info.train_counts, info.validation_counts, info.test_counts) == ((8,) * 3, (3,) * 3, (2,) * 3)
        checked = check_spec({"dataset": "folders", "architecture": "lenet", "batch_size": 2}, lambda name: info)
        assert checked.counts == SplitCounts(24, 9, 6)

    def test_large_pictures_are_reduced_in_proportion(
        self, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        wide = np.zeros((6, 100, 1000), np.uint8)
        np.savez(tmp_path / "wide.npz", x_train=wide, y_train=np.arange(6) % 2)
        content = stored(import_files(database, settings, "wide", tmp_path / "wide.npz")).content
        assert (content.sizes.largest, content.reduced_to) == ((51, 512), 512)

    def test_a_cifar_archive_gives_fine_or_coarse_labels(
        self, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        file = tmp_path / "c.tar.gz"
        file.write_bytes(cifar100_archive(per_class=2, test_per_class=1))
        fine = stored(import_files(database, settings, "fine", file)).content
        coarse = stored(import_files(database, settings, "coarse", file, options={"cifar_labels": "coarse"})).content
        assert fine.labels == BUILTIN_DATASETS["cifar100"].labels
        assert coarse.labels == BUILTIN_DATASETS["cifar100_coarse"].labels
        assert coarse.splits["train"].class_counts == (10,) * 20

    def test_a_cifar_archive_may_hold_some_of_its_classes(
        self, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        file = tmp_path / "c.tar.gz"
        file.write_bytes(cifar100_archive(per_class=2, test_per_class=1, classes=20))
        row = import_files(database, settings, "some", file)
        assert stored(row).content.splits["train"].class_counts == (2,) * 20 + (0,) * 80
        assert row.report is not None
        assert "empty_class" in {warning["code"] for warning in row.report["warnings"]}

    def test_a_few_bytes_may_not_hold_gigabytes_of_pixels(
        self, database: Database, settings: Settings, photos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from worker.imports import room

        monkeypatch.setattr(room, "GRACE_BYTES", 1000)
        monkeypatch.setattr(room, "MOST_TIMES", 1)
        row = import_files(database, settings, "photos", photos)
        assert row.state == DatasetState.REJECTED
        assert row.errors[0]["code"] == "too_many_bytes"

    def test_a_damaged_copy_is_replaced_when_the_images_come_again(
        self, database: Database, anywhere: Settings, photos: Path
    ) -> None:
        first = import_files(database, anywhere, "photos", photos)
        store = open_store(anywhere)
        shard = f"{first.path}/train-00000.tfrecord"
        content = bytearray(b"".join(store.blocks(shard)))
        content[500] ^= 1
        store.put(shard, bytes(content))
        second = import_files(database, anywhere, "same-photos", photos)
        assert second.path != first.path
        assert row_of(database, "photos").path == second.path

    def test_a_database_that_is_busy_rejects_nothing(
        self, database: Database, settings: Settings, photos: Path
    ) -> None:
        """Row 12."""
        if database.engine.dialect.name != "sqlite":
            return  # only SQLite has one writer at a time
        register(database, settings, "photos", [photos])
        with database.transaction() as session:
            claimed = claim_import(session, HOLDER)
        assert claimed is not None
        blocker = SQLITE.connect(
            settings.data_dir.parent / "kerasd.sqlite3", isolation_level=None, check_same_thread=False
        )
        blocker.execute("BEGIN IMMEDIATE")
        timer = Timer(6.5, lambda: blocker.execute("COMMIT"))
        timer.start()
        import_dataset(assignment_of(claimed), settings)
        timer.join()
        blocker.close()
        assert row_of(database, "photos").state == DatasetState.READY

    def test_a_store_that_is_away_rejects_nothing(
        self, database: Database, settings: Settings, photos: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        far = with_artifacts(settings, s3.fields())
        register(database, far, "photos", [photos])
        with database.transaction() as session:
            claimed = claim_import(session, HOLDER)
        assert claimed is not None
        monkeypatch.setattr("core.s3.READ_SECONDS", 0.3)
        monkeypatch.setattr("worker.imports.run.LEASE_SECONDS", 0.5)
        with s3.away():
            assert import_dataset(assignment_of(claimed), far) == NO_STORE
        assert row_of(database, "photos").state == DatasetState.IMPORTING

    def test_a_store_that_refuses_is_the_reason(
        self, database: Database, settings: Settings, photos: Path, s3: S3
    ) -> None:
        far = with_artifacts(settings, s3.fields())
        register(database, far, "photos", [photos])
        with database.transaction() as session:
            claimed = claim_import(session, HOLDER)
        assert claimed is not None
        with s3.refusing():
            import_dataset(assignment_of(claimed), far)
        row = row_of(database, "photos")
        assert row.state == DatasetState.REJECTED
        assert "the artifact store refuses" in str(row.detail)

    def test_a_failed_one_leaves_no_file_and_says_why(
        self, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        one_class = tmp_path / "one.npz"
        np.savez(one_class, x_train=np.zeros((3, 8, 8), np.uint8), y_train=np.zeros(3, np.int64))
        row = import_files(database, settings, "one", one_class)
        assert row.state == DatasetState.REJECTED
        assert row.errors
        assert row.detail
        assert not list((settings.data_dir / "artifacts" / "datasets").glob("*"))

    def test_models_of_other_images_keep_their_name(
        self, database: Database, settings: Settings, photos: Path, tmp_path: Path
    ) -> None:
        """Predictions of `photos` would otherwise come from a mixture."""
        import_files(database, settings, "photos", photos)
        attempt = rows.start(database)
        rows.finish(database, attempt, rows.publication(view="photos"))
        with database.transaction() as session:
            delete_dataset(session, LOCAL_TENANT, "photos")
        other = tmp_path / "other.zip"
        other.write_bytes(zip_of_shapes(5))
        row = import_files(database, settings, "photos", other)
        assert row.state == DatasetState.REJECTED
        assert "models named after" in str(row.detail)


class TestBuiltin:
    def test_digits_need_no_file(self, database: Database, settings: Settings) -> None:
        row = import_files(database, settings, "digits")
        assert stored(row).content.info("digits").train_counts == BUILTIN_DATASETS["digits"].train_counts

    def write_mnist(self, file: Path, **changes: Any) -> Path:
        info = BUILTIN_DATASETS["mnist"]
        assert info.test_counts is not None
        y_train, y_test = (np.repeat(np.arange(10), counts) for counts in (info.train_counts, info.test_counts))
        arrays = {
            "x_train": np.zeros((len(y_train), 28, 28), np.uint8),
            "y_train": y_train,
            "x_test": np.full((len(y_test), 28, 28), 7, np.uint8),
            "y_test": y_test,
        }
        np.savez_compressed(file, **{**arrays, **changes})
        return file

    def with_file(self, settings: Settings, name: str, file: Path) -> Settings:
        return settings.model_copy(update={"dataset_files": {name: file}})

    def test_a_local_file_replaces_the_download(self, database: Database, settings: Settings, tmp_path: Path) -> None:
        local = self.with_file(settings, "mnist", self.write_mnist(tmp_path / "m.npz"))
        content = stored(import_files(database, local, "mnist")).content
        assert content.info("mnist") == BUILTIN_DATASETS["mnist"]

    def test_a_file_of_another_set_is_refused(self, database: Database, settings: Settings, tmp_path: Path) -> None:
        y_train = np.repeat(np.arange(10), 6000)
        local = self.with_file(settings, "mnist", self.write_mnist(tmp_path / "m.npz", y_train=y_train))
        row = import_files(database, local, "mnist")
        assert row.state == DatasetState.REJECTED
        assert "is it the right file?" in str(row.detail)

    @pytest.mark.parametrize("name", ["mnist", "cifar100", "cifar100_coarse"])
    def test_without_network_or_file_it_says_what_to_do(
        self, database: Database, settings: Settings, name: str
    ) -> None:
        row = import_files(database, settings, name)
        assert row.state == DatasetState.REJECTED
        assert "KERASD_DATASET_FILES" in str(row.detail)

    def test_jobs_wait_for_it_and_fail_with_it(self, database: Database, settings: Settings) -> None:
        from core.repositories.jobs import create_job

        checked = check_spec({"dataset": "mnist", "architecture": "lenet"})
        with database.transaction() as session:
            job = create_job(
                session, LOCAL_TENANT, checked, need_dataset(session, LOCAL_TENANT, "mnist", None), None
            ).id
        assert "waits for dataset mnist" in str(rows.read(database, job).detail)
        assert rows.claim(database) is None
        attempt = claim(database)
        assert attempt is not None
        with database.transaction() as session:
            reject_import(session, attempt, Rejection("no network", [], 0))
        ended = rows.read(database, job)
        assert (ended.state, ended.reason) == ("FAILED", "INVALID_DATASET")
        assert "no network" in str(ended.detail)
        with database.transaction() as session:
            again = need_dataset(session, LOCAL_TENANT, "mnist", None)
            assert again.state == DatasetState.IMPORTING  # another job is another try


class TestNames:
    def test_a_dataset_in_use_stays(self, database: Database) -> None:
        job = rows.submit(database)
        with pytest.raises(DatasetInUse), database.transaction() as session:
            delete_dataset(session, LOCAL_TENANT, "digits")
        rows.write(database, job, state="FAILED")
        with database.transaction() as session:
            delete_dataset(session, LOCAL_TENANT, "digits")
            assert find_dataset(session, LOCAL_TENANT, "digits") is None
        assert rows.read(database, job).dataset_id is None

    def test_an_unknown_one_is_not_found(self, database: Database) -> None:
        for act in (partial(delete_dataset, name="nope"), partial(need_dataset, name="nope", request_id=None)):
            with pytest.raises(DatasetNotFound), database.transaction() as session:
                act(session, LOCAL_TENANT)

    def test_a_name_is_a_dataset_s_or_a_view_s(self, database: Database, settings: Settings, photos: Path) -> None:
        with database.transaction() as session:
            claim_view_name(session, LOCAL_TENANT, "pets", "digits@12345678")
            claim_view_name(session, LOCAL_TENANT, "pets", "digits@12345678")
        with database.snapshot() as session:
            assert view_conflict(session, LOCAL_TENANT, "pets", "digits@87654321")
            assert view_conflict(session, LOCAL_TENANT, "mnist", "digits@87654321")
            assert view_conflict(session, LOCAL_TENANT, "digits", "digits") is None
        with pytest.raises(DatasetExists):
            register(database, settings, "pets", [photos])


class TestViews:
    def test_a_view_keeps_to_the_images_that_its_models_know(
        self, database: Database, settings: Settings, photos: Path
    ) -> None:
        row = import_files(database, settings, "photos", photos)
        attempt = rows.start(database)
        rows.finish(database, attempt, rows.publication(view="mine"))
        with database.snapshot() as session:
            trouble = view_conflict(session, LOCAL_TENANT, "mine", "photos@12345678")
        assert trouble is not None
        assert "other images" in trouble
        assert row.digest


class TestFirstUse:
    def test_two_first_uses_at_once_share_the_dataset(self, database: Database) -> None:
        def use(_: int) -> str:
            with database.transaction() as session:
                return need_dataset(session, LOCAL_TENANT, "mnist", None).id

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(use, range(4)))) == 1


class TestSweeper:
    def test_it_removes_what_no_row_needs_once_it_is_old(
        self, database: Database, anywhere: Settings, photos: Path
    ) -> None:
        row = import_files(database, anywhere, "photos", photos)
        store = open_store(anywhere)
        store.put("datasets/gone-1/train.index", b"x")
        store.put("uploads/never-registered/0", b"x")
        assert sweep_store(database, store) == []
        assert set(sweep_store(database, store, grace_seconds=-1)) >= {"datasets/gone-1", "uploads/never-registered"}
        assert store.entries(str(row.path))


class Server(BaseHTTPRequestHandler):
    """Serves 100,000 bytes and breaks off after `budget` of them, once for each connection."""

    content = bytes(range(250)) * 400
    budget = 30_000

    def do_GET(self) -> None:
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        rest = self.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.budget])

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


class TestDownload:
    @pytest.fixture
    def url(self) -> Iterator[str]:
        with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
            thread = Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}/file"
            server.shutdown()
            thread.join()

    def remote(self, url: str, content: bytes = Server.content) -> RemoteFile:
        import hashlib

        return RemoteFile("file", url, hashlib.sha256(content).hexdigest())

    def test_it_goes_on_where_it_broke_off(self, url: str, tmp_path: Path) -> None:
        seen: list[int] = []
        file = have_file(self.remote(url), tmp_path, offline=False, on_progress=seen.append)
        assert file.read_bytes() == Server.content
        assert seen[-1] == len(Server.content)
        assert {entry.name for entry in tmp_path.iterdir()} == {"file", "file.lock"}

    def test_two_at_once_share_one_download(self, url: str, tmp_path: Path) -> None:
        def have(_: int) -> bytes:
            return have_file(self.remote(url), tmp_path, offline=False, on_progress=lambda _: None).read_bytes()

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(have, range(2))) == [Server.content] * 2

    def test_other_bytes_than_published_are_never_used(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(DownloadFailed, match="checksum"):
            have_file(self.remote(url, b"other"), tmp_path, offline=False, on_progress=lambda _: None)
        assert not (tmp_path / "file").exists()

    def test_offline_it_is_not_tried(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(DownloadFailed, match="KERASD_OFFLINE"):
            have_file(self.remote(url), tmp_path, offline=True, on_progress=lambda _: None)
