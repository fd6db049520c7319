"""The artifact store in a folder and on a real S3 server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from servers import S3
from stack import until

from cli.checks import Check, Verdict, run_checks
from cli.doctor import described
from core.artifacts import BLOCK_BYTES, ArtifactStore, open_store
from core.errors import ArtifactCorrupt, ArtifactStoreAway, ArtifactStoreRefused
from core.settings import Settings

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LARGE = CONTENT * (2 * BLOCK_BYTES // len(CONTENT) + 1)
"""more than one part of an upload"""


@pytest.fixture
def store(artifacts: dict[str, Any]) -> ArtifactStore:
    """An empty store of each kind in turn."""
    return open_store(Settings(**artifacts))


class Broken(Exception):
    """The writer has failed."""


def write_half(store: ArtifactStore, path: str, content: bytes, meanwhile: Callable[[], None] = lambda: None) -> None:
    with store.writing(path) as file:
        file.write(content)
        meanwhile()
        raise Broken


class TestPut:
    def test_what_was_put_is_got(self, store: ArtifactStore) -> None:
        stored = store.put("a/b/file", CONTENT)
        assert (stored.sha256, stored.bytes) == (SHA256, len(CONTENT))
        assert store.get("a/b/file", SHA256) == CONTENT

    def test_it_takes_the_place_of_what_was_there(self, store: ArtifactStore) -> None:
        store.put("file", b"earlier")
        store.put("file", CONTENT)
        assert store.get("file", SHA256) == CONTENT

    def test_an_empty_file_is_one(self, store: ArtifactStore) -> None:
        empty = store.put("empty", b"")
        assert store.get("empty", empty.sha256) == b""
        assert store.matches("empty", empty.sha256)


class TestWriting:
    def test_pieces_make_one_file(self, store: ArtifactStore) -> None:
        with store.writing("large") as file:
            for start in range(0, len(LARGE), 1 << 20):
                file.write(LARGE[start : start + (1 << 20)])
        assert file.bytes == len(LARGE)
        assert store.get("large", file.sha256) == LARGE

    @pytest.mark.parametrize("content", [CONTENT, LARGE])
    def test_nothing_is_left_when_it_raises(self, store: ArtifactStore, content: bytes) -> None:
        with pytest.raises(Broken):
            write_half(store, "a/file", content)
        assert store.entries("a") == {}

    def test_what_is_there_stays_when_a_second_one_raises_on_s3(self, s3: S3) -> None:
        store = s3.store()
        store.put("file", CONTENT)
        with pytest.raises(Broken):
            write_half(store, "file", LARGE)
        assert store.get("file", SHA256) == CONTENT

    def test_an_upload_that_raises_is_ended_on_the_server(self, s3: S3) -> None:
        url = s3.bucket()
        begun: list[int] = []
        with pytest.raises(Broken):
            write_half(ArtifactStore(url, s3.access()), "file", LARGE, lambda: begun.append(s3.unfinished(url)))
        assert begun == [1]
        assert s3.unfinished(url) == 0

    def test_a_file_on_s3_is_not_there_before_it_is_whole(self, s3: S3) -> None:
        url = s3.bucket()
        with ArtifactStore(url, s3.access()).writing("file") as file:
            file.write(LARGE)
            assert s3.keys(url) == []
        assert s3.keys(url) == ["file"]

    def test_a_writer_that_is_killed_leaves_nothing_that_can_be_seen(self, s3: S3) -> None:
        url = s3.bucket()
        killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, url, s3.endpoint], check=False, timeout=60)
        assert killed.returncode == -9
        assert s3.keys(url) == []
        store = ArtifactStore(url, s3.access())
        assert store.drop_unfinished(older_than_seconds=1e9) == 0
        assert s3.unfinished(url) == 1
        assert store.drop_unfinished(older_than_seconds=3600) == 1  # this server dates every upload 2010
        assert s3.unfinished(url) == 0


KILLED_WRITER = """
import os, signal, sys
from core.artifacts import BLOCK_BYTES, ArtifactStore, S3Access
store = ArtifactStore(sys.argv[1], S3Access(sys.argv[2], access_key_id="k", secret_access_key="s"))
with store.writing("file") as file:
    file.write(bytes(BLOCK_BYTES + 1))
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestReading:
    def test_a_missing_file_is_told(self, store: ArtifactStore, tmp_path: Path) -> None:
        for read in (
            lambda: store.get("none", SHA256),
            lambda: store.read_range("none", 0, 1),
            lambda: store.fetch("none", tmp_path / "target", SHA256),
            lambda: list(store.blocks("none")),
        ):
            with pytest.raises(ArtifactCorrupt, match="none is missing"):
                read()

    def test_other_bytes_than_recorded_are_told(self, store: ArtifactStore, tmp_path: Path) -> None:
        store.put("file", b"x" + CONTENT[1:])
        with pytest.raises(ArtifactCorrupt, match="does not match"):
            store.get("file", SHA256)
        with pytest.raises(ArtifactCorrupt, match="does not match"):
            store.fetch("file", tmp_path / "target", SHA256)

    def test_a_range_is_read(self, store: ArtifactStore) -> None:
        store.put("file", CONTENT)
        assert store.read_range("file", 10, 300) == CONTENT[10:300]

    @pytest.mark.parametrize("start", [len(CONTENT) - 5, len(CONTENT) + 5])
    def test_a_range_beyond_the_end_is_told(self, store: ArtifactStore, start: int) -> None:
        store.put("file", CONTENT)
        with pytest.raises(ArtifactCorrupt, match="cut short"):
            store.read_range("file", start, start + 10)

    def test_a_file_is_fetched(self, store: ArtifactStore, tmp_path: Path) -> None:
        stored = store.put("file", LARGE)
        store.fetch("file", tmp_path / "target", stored.sha256)
        assert (tmp_path / "target").read_bytes() == LARGE

    def test_it_matches_only_what_was_recorded(self, store: ArtifactStore) -> None:
        large = store.put("file", LARGE)
        assert store.matches("file", large.sha256)
        assert not store.matches("file", SHA256)
        assert not store.matches("none", SHA256)

    def test_blocks_are_the_file(self, store: ArtifactStore) -> None:
        store.put("file", LARGE)
        assert b"".join(store.blocks("file")) == LARGE

    def test_only_a_folder_is_on_this_machine(self, s3: S3, tmp_path: Path) -> None:
        assert s3.store().local_path("file") is None
        assert ArtifactStore(str(tmp_path)).local_path("file") == tmp_path / "file"


class TestDelete:
    def test_a_file_goes_and_its_neighbours_stay(self, store: ArtifactStore) -> None:
        for name in ("1-1", "1-10", "1-1.old"):
            store.put(f"checkpoints/{name}", CONTENT)
        store.delete("checkpoints/1-1")
        assert set(store.entries("checkpoints")) == {"1-10", "1-1.old"}

    def test_a_folder_goes_with_all_that_is_in_it(self, store: ArtifactStore) -> None:
        for name in ("d/one", "d/deep/two", "d2/three"):
            store.put(name, CONTENT)
        store.delete("d")
        assert store.entries("d") == {}
        assert set(store.entries("d2")) == {"three"}

    def test_what_is_not_there_is_no_trouble(self, store: ArtifactStore) -> None:
        store.delete("none")
        store.delete("none/at/all")
        assert store.discard("none")


class TestEntries:
    def test_names_come_with_the_time_of_their_change(self, store: ArtifactStore) -> None:
        began = time.time()
        store.put("d/one", CONTENT)
        store.put("d/deep/two", CONTENT)
        assert set(store.entries("d")) == {"one", "deep"}
        assert began - 2 <= store.entries("d")["one"] <= time.time() + 2
        assert store.entries("d")["deep"] <= time.time() + 2

    def test_what_others_write_is_seen(self, s3: S3) -> None:
        url = s3.bucket()
        store, other = ArtifactStore(url, s3.access()), ArtifactStore(url, s3.access(patience_seconds=1.0))
        assert store.entries("d") == {}
        other.put("d/one", CONTENT)
        assert set(store.entries("d")) == {"one"}
        other.put("d/one", LARGE)
        assert b"".join(store.blocks("d/one")) == LARGE

    def test_there_are_none_without_the_folder(self, store: ArtifactStore) -> None:
        assert store.entries("none") == {}


class TestFiles:
    def test_all_below_a_folder_are_told_by_their_paths(self, store: ArtifactStore) -> None:
        began = time.time()
        for path in ("d/one", "d/deep/two", "d2/three"):
            store.put(path, CONTENT)
        found = store.files("d/")
        assert set(found) == {"d/one", "d/deep/two"}
        assert all(began - 2 <= changed <= time.time() + 2 for changed in found.values())

    def test_there_are_none_without_the_folder(self, store: ArtifactStore) -> None:
        assert store.files("none/") == {}


OPERATIONS: dict[str, Callable[[ArtifactStore, Path], object]] = {
    "put": lambda store, here: store.put("other", CONTENT),
    "writing": lambda store, here: store.put("other", LARGE),
    "get": lambda store, here: store.get("file", SHA256),
    "matches": lambda store, here: store.matches("file", SHA256),
    "fetch": lambda store, here: store.fetch("file", here, SHA256),
    "read_range": lambda store, here: store.read_range("file", 0, 9),
    "delete": lambda store, here: store.delete("file"),
    "entries": lambda store, here: store.entries(""),
    "files": lambda store, here: store.files(""),
}


class TestTrouble:
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_server_that_is_not_there_is_told(self, operation: str, tmp_path: Path) -> None:
        store = ArtifactStore("s3://bucket", S3(None, 1).access(patience_seconds=0.0))  # type: ignore[arg-type]
        with pytest.raises(ArtifactStoreAway, match="does not answer"):
            OPERATIONS[operation](store, tmp_path / "file")

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_bucket_that_is_not_there_is_no_missing_file(self, operation: str, s3: S3, tmp_path: Path) -> None:
        store = ArtifactStore("s3://no-such-bucket", s3.access())
        with pytest.raises(ArtifactStoreRefused, match="bucket"):
            OPERATIONS[operation](store, tmp_path / "file")

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_unknown_keys_are_refused(self, operation: str, s3: S3, tmp_path: Path) -> None:
        store = s3.store()
        store.put("file", CONTENT)
        with s3.refusing(), pytest.raises(ArtifactStoreRefused, match="refuses"):
            OPERATIONS[operation](store, tmp_path / "file")

    @pytest.mark.long
    @pytest.mark.parametrize("operation", ["writing", "get", "fetch", "delete"])
    def test_one_that_comes_back_in_time_was_only_slow(
        self, operation: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = s3.bucket()
        ArtifactStore(url, s3.access()).put("file", CONTENT)
        monkeypatch.setattr("core.s3.READ_SECONDS", 0.3)
        store = ArtifactStore(url, s3.access(patience_seconds=30.0))
        with ThreadPoolExecutor(1) as pool:
            with s3.away():
                running = pool.submit(OPERATIONS[operation], store, tmp_path / "file")
                assert not wait([running], timeout=1.2).done  # longer than one try
            running.result()

    @pytest.mark.long
    @pytest.mark.parametrize("operation", ["put", "writing", "get", "fetch", "delete", "entries"])
    def test_one_that_stays_away_is_given_up(
        self, operation: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = s3.bucket()
        ArtifactStore(url, s3.access()).put("file", CONTENT)
        monkeypatch.setattr("core.s3.READ_SECONDS", 0.3)
        monkeypatch.setattr("core.s3.REQUEST_SECONDS", 0.6)
        store = ArtifactStore(url, s3.access(patience_seconds=0.0))
        with s3.away(), pytest.raises(ArtifactStoreAway):
            OPERATIONS[operation](store, tmp_path / "file")

    @pytest.mark.long
    def test_once_it_has_given_up_it_waits_no_more_until_the_server_answers(
        self, s3: S3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = s3.bucket()
        ArtifactStore(url, s3.access()).put("file", CONTENT)
        monkeypatch.setattr("core.s3.READ_SECONDS", 0.3)
        store = ArtifactStore(url, s3.access(patience_seconds=4.0))
        with s3.away():
            seconds = []
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(ArtifactStoreAway):
                    store.get("file", SHA256)
                seconds.append(time.monotonic() - began)
        assert seconds[0] > 4.0
        assert seconds[1] < 3.0
        until(lambda: store.matches("file", SHA256), 10, "it reads again")

    def test_what_no_row_names_may_stay(self, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
        url = s3.bucket()
        ArtifactStore(url, s3.access()).put("file", CONTENT)
        monkeypatch.setattr("core.s3.READ_SECONDS", 0.3)
        with s3.away():
            assert not ArtifactStore(url, s3.access(patience_seconds=0.0)).discard("file")
        assert s3.keys(url) == ["file"]


class TestSettings:
    def test_the_server_and_its_keys_come_from_settings(self, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        open_store(Settings()).put("file", CONTENT)
        assert s3.keys(Settings().artifacts) == ["file"]

    def test_or_from_aws_s_own_variables(self, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        settings = Settings(artifacts_url=s3.bucket())
        open_store(settings).put("file", CONTENT)
        assert s3.keys(settings.artifacts) == ["file"]

    def test_or_from_secret_files(self, s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "kerasd_s3_access_key_id").write_text("k")
        (tmp_path / "kerasd_s3_secret_access_key").write_text("s")
        monkeypatch.setattr("core.settings.SECRETS_DIR", tmp_path)
        settings = Settings(artifacts_url=s3.bucket(), s3_endpoint=s3.endpoint)
        assert "s" not in str(settings.s3_secret_access_key)
        open_store(settings).put("file", CONTENT)
        assert s3.keys(settings.artifacts) == ["file"]


class TestImports:
    def test_a_folder_costs_no_s3_client(self, tmp_path: Path) -> None:
        """Importing one takes the API about as long as everything else."""
        code = (
            "import sys; from service.app import create_app; from core.settings import Settings; import worker.supervisor;"
            "create_app(Settings()); assert not {'s3fs', 'botocore', 'aiohttp'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60, cwd=tmp_path)


class TestPrepare:
    def test_a_bucket_is_made_where_there_is_none(self, s3: S3) -> None:
        store = ArtifactStore("s3://made-by-prepare/kerasd", s3.access())
        for _ in range(2):
            store.prepare()
        store.put("file", CONTENT)
        assert s3.keys("s3://made-by-prepare/kerasd") == ["file"]

    def test_migrate_does_it(self, s3: S3, tmp_path: Path) -> None:
        environment = {
            **s3.environment(),
            "KERASD_DATA_DIR": str(tmp_path),
            "KERASD_ARTIFACTS_URL": "s3://made-by-migrate",
        }
        command = [sys.executable, "-m", "migrations"]
        subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=60, capture_output=True)
        assert s3.keys("s3://made-by-migrate") == []

    def test_a_folder_waits_for_its_first_file(self, tmp_path: Path) -> None:
        ArtifactStore(str(tmp_path / "artifacts")).prepare()
        assert not (tmp_path / "artifacts").exists()


class TestDoctor:
    @staticmethod
    def found(settings: Settings) -> Check:
        return next(check for check in run_checks(settings) if check.name == "artifacts")

    def test_a_store_that_works_is_ok_and_left_as_it_was(self, artifacts: dict[str, Any], tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path, **artifacts)
        store = open_store(settings)
        store.put("file", CONTENT)
        check = self.found(settings)
        assert (check.verdict, set(store.entries(""))) == (Verdict.OK, {"file"})
        assert "takes, gives back and deletes" in check.detail

    def test_a_folder_that_is_not_made_yet_is_not_made(self, tmp_path: Path) -> None:
        check = self.found(Settings(data_dir=tmp_path / "data"))
        assert (check.verdict, (tmp_path / "data").exists()) == (Verdict.OK, False)
        assert "not made yet" in check.detail

    def test_a_folder_that_takes_nothing_is_broken(self, tmp_path: Path) -> None:
        (tmp_path / "artifacts").touch()
        check = self.found(Settings(data_dir=tmp_path))
        assert check.verdict is Verdict.BROKEN
        assert "KERASD_ARTIFACTS_URL" in check.detail

    def test_an_s3_that_refuses_is_broken_and_says_why(self, s3: S3, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path, **s3.fields())
        with s3.refusing():
            check = self.found(settings)
        assert check.verdict is Verdict.BROKEN
        assert "the artifact store refuses" in check.detail

    def test_no_secret_is_shown(self, s3: S3) -> None:
        fields = {**s3.fields(), "s3_secret_access_key": "very-secret"}
        shown = {row.name: row.value for row in described(Settings(**fields))}
        assert "very-secret" not in str(shown)
        assert shown["KERASD_S3_REGION"] == "not set"
