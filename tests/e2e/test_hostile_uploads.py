"""Uploads that mean harm or meet it. Numbers are rows of the fault matrix."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from archives import write_entries, write_tar, write_zip
from pictures import SHAPES, picture, png_claiming, zip_of_shapes
from stack import Stack, running_stack, until

GOOD = {f"{kind}/{number}.png": picture(kind, number) for kind in SHAPES for number in range(3)}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    limits = {"KERASD_MAX_UPLOAD_BYTES": "4000000", "KERASD_MAX_EXPANDED_BYTES": "50000000", "KERASD_STANDBY": "false"}
    with running_stack(tmp_path_factory.mktemp("hostile"), limits) as running:
        yield running


def upload(stack: Stack, name: str, content: bytes, **fields: str) -> Any:
    return stack.http.post("/api/v1/datasets", data={"name": name, **fields}, files={"file": ("upload", content)})


def refused(stack: Stack, name: str, content: bytes) -> set[str]:
    """Uploads; the answer must be a 422 that leaves nothing behind. Returns the faults' codes."""
    answer = upload(stack, name, content)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.elapsed.total_seconds() < 5
    assert stack.http.get(f"/api/v1/datasets/{name}").status_code == 404
    until(lambda: not leftovers(stack), 10, "what was uploaded is gone", lambda: str(leftovers(stack)))
    assert upload_works(stack)
    return {error["code"] for error in answer.json()["errors"]}


def upload_works(stack: Stack) -> bool:
    return bool(stack.http.get("/readyz").status_code == 200)


def leftovers(stack: Stack) -> list[Path]:
    """Uploaded files, tries of imports that no dataset uses, and temporary files of importers."""
    from sqlalchemy import select

    from core.tables import DatasetRow

    with stack.database.snapshot() as session:
        used = {Path(path).name for path in session.scalars(select(DatasetRow.path)) if path}
    artifacts = stack.settings.data_dir / "artifacts"
    found = [*(artifacts / "uploads").glob("*")]
    found += [folder for folder in (artifacts / "datasets").glob("*") if folder.name not in used]
    return found


def api_memory(stack: Stack) -> int:
    return int(psutil.Process(stack.pid("api")).memory_info().rss)


OUTSIDE = ("../outside.png", "/etc/outside.png", "a/../../outside.png", "%2e%2e/outside.png", "c:\\outside.png")


class TestHostileArchives:
    @pytest.mark.parametrize(
        ("write", "name"),
        [
            *((write, name) for write in (write_zip, write_tar) for name in OUTSIDE),
            (write_zip, "a\0b/x.png"),  # a tar's names end at a NUL
        ],
    )
    def test_a_name_that_leads_outside_is_refused(self, stack: Stack, tmp_path: Path, name: str, write: Any) -> None:
        """Row 32."""
        before = set(stack.folder.parent.rglob("*outside*"))
        refused(stack, "outside", write(tmp_path / "a", {**GOOD, name: picture("disc", 0)}).read_bytes())
        assert set(stack.folder.parent.rglob("*outside*")) == before
        assert not Path("/etc/outside.png").exists()

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    def test_links_and_devices_are_refused(self, stack: Stack, tmp_path: Path, kind: bytes) -> None:
        """Row 32."""
        info = tarfile.TarInfo("disc/link.png")
        info.type, info.linkname = kind, "/etc/passwd"
        file = write_entries(tmp_path / "a", [(info, b"")])
        assert refused(stack, "linked", file.read_bytes()) == {"link_or_device"}

    def test_a_zip_bomb_is_refused(self, stack: Stack, tmp_path: Path) -> None:
        """Row 33."""
        bomb = write_zip(tmp_path / "a", {**GOOD, "disc/bomb.png": bytes(200 << 20)})
        assert bomb.stat().st_size < 1 << 20
        assert refused(stack, "bomb", bomb.read_bytes())

    def test_a_tar_bomb_is_refused(self, stack: Stack, tmp_path: Path) -> None:
        """Row 33: a tar's sizes are known only by unpacking it."""
        bomb = write_tar(tmp_path / "a", {**GOOD, "disc/bomb.png": bytes(200 << 20)})
        assert refused(stack, "bomb", bomb.read_bytes())

    def test_an_archive_in_an_archive_is_refused(self, stack: Stack, tmp_path: Path) -> None:
        """Row 33."""
        inner = write_zip(tmp_path / "inner", GOOD).read_bytes()
        outer = write_zip(tmp_path / "a", {**GOOD, "disc/inner.png": inner})
        assert refused(stack, "nested", outer.read_bytes()) == {"nested_archive"}

    def test_a_picture_that_claims_a_billion_pixels_is_refused(self, stack: Stack, tmp_path: Path) -> None:
        """Row 34."""
        before = api_memory(stack)
        bomb = write_zip(tmp_path / "a", {**GOOD, "disc/bomb.png": png_claiming(32_000, 32_000)})
        assert refused(stack, "pixels", bomb.read_bytes()) == {"too_many_pixels"}
        gif = b"GIF89a" + (32_000).to_bytes(2, "little") * 2 + b"\x80\0\0" + bytes(64)
        assert refused(stack, "gif", write_zip(tmp_path / "b", {**GOOD, "disc/a.gif": gif}).read_bytes())
        assert api_memory(stack) - before < 100 << 20

    def test_a_pickle_in_a_cifar_archive_runs_nothing(self, stack: Stack, tmp_path: Path) -> None:
        """Row 35."""
        canary = tmp_path / "canary"
        gadget = pickle.dumps(Gadget(str(canary)))
        batches = {f"cifar-10-batches-py/{name}": gadget for name in ("data_batch_1", "test_batch", "batches.meta")}
        assert refused(stack, "gadget", write_tar(tmp_path / "a", batches).read_bytes()) == {"unsafe_pickle"}
        assert not canary.exists()

    def test_what_is_no_archive_is_told_what_would_be(self, stack: Stack) -> None:
        assert refused(stack, "text", b"not an archive" * 100) == {"unknown_format"}


class Gadget:
    def __init__(self, canary: str) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._canary}",)


DAMAGED = {
    "shapes/disc/bad.png": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "shapes/disc/cut.png": picture("disc", 7)[:300],
}


class TestDamagedImages:
    def test_they_reject_the_dataset_by_name(self, stack: Stack) -> None:
        """Row 17."""
        assert upload(stack, "damaged", zip_of_shapes(12, DAMAGED)).status_code == 202
        dataset = wait_imported(stack, "damaged")
        assert dataset["state"] == "REJECTED"
        assert {error["file"] for error in dataset["errors"]} == set(DAMAGED)
        assert dataset["errors_total"] == 2
        refused_job = stack.http.post("/api/v1/jobs", json={"dataset": "damaged", "architecture": "lenet"})
        assert refused_job.json()["errors"][0]["code"] == "dataset_rejected"

    def test_or_are_left_out_and_counted_where_that_is_asked_for(self, stack: Stack) -> None:
        """Row 17."""
        assert upload(stack, "skipped", zip_of_shapes(12, DAMAGED), on_corrupt="skip").status_code == 202
        dataset = wait_imported(stack, "skipped")
        assert dataset["state"] == "READY", dataset
        assert dataset["report"]["skipped"] == 2
        assert dataset["images"]["train"] == 36

    def test_a_rejected_name_may_be_used_again(self, stack: Stack) -> None:
        upload(stack, "again", zip_of_shapes(12, DAMAGED))
        assert wait_imported(stack, "again")["state"] == "REJECTED"
        assert upload(stack, "again", zip_of_shapes(12)).status_code == 202
        assert wait_imported(stack, "again")["state"] == "READY"


class TestTransfer:
    BOUNDARY = "frontier"

    def head(self, length: str) -> bytes:
        return (
            f"POST /api/v1/datasets HTTP/1.1\r\nHost: kerasd\r\nContent-Type: multipart/form-data; boundary={self.BOUNDARY}"
            f"\r\n{length}\r\n\r\n"
        ).encode()

    def part(self) -> bytes:
        return (
            f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\nhuge\r\n'
            f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
        ).encode()

    def connect(self, stack: Stack) -> socket.socket:
        host, port = stack.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def test_a_declared_size_past_the_limit_is_refused_at_once(self, stack: Stack) -> None:
        """Row 30."""
        with self.connect(stack) as connection:
            connection.sendall(self.head("Content-Length: 99999999999") + self.part())
            assert b" 413 " in connection.recv(4096)

    def test_an_undeclared_one_is_refused_when_it_is_reached(self, stack: Stack) -> None:
        """Row 30: the limit is 4 MB, and a MB for the form."""
        before = api_memory(stack)
        sent = 0
        with self.connect(stack) as connection:
            connection.sendall(self.head("Transfer-Encoding: chunked"))
            piece = self.part()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(1000):
                    connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    sent += len(piece)
                    piece = bytes(100_000)
            with contextlib.suppress(ConnectionResetError):
                assert b" 413 " in connection.recv(4096)
        assert sent < 60_000_000  # what was on its way when the connection closed
        assert api_memory(stack) - before < 50 << 20
        until(lambda: not leftovers(stack), 10, "the partial upload is gone")

    def test_a_truncated_one_leaves_nothing(self, stack: Stack) -> None:
        """Row 31."""
        with self.connect(stack) as connection:
            connection.sendall(self.head("Content-Length: 3000000") + self.part() + bytes(1_500_000))
            until(lambda: leftovers(stack), 10, "the upload has begun")
        until(lambda: not leftovers(stack), 10, "the partial upload is gone")
        assert stack.http.get("/api/v1/datasets/huge").status_code == 404

    def test_a_form_that_never_ends_is_malformed(self, stack: Stack) -> None:
        answer = stack.http.post(
            "/api/v1/datasets",
            content=self.part() + b"no closing boundary",
            headers={"Content-Type": f"multipart/form-data; boundary={self.BOUNDARY}"},
        )
        assert answer.status_code == 400
        assert answer.json()["code"] == "malformed_multipart"
        until(lambda: not leftovers(stack), 10, "the partial upload is gone")


def wait_imported(stack: Stack, name: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        dataset: dict[str, Any] = stack.http.get(f"/api/v1/datasets/{name}").json()
        return dataset if dataset["state"] != "IMPORTING" else None

    return until(ended, 60, f"dataset {name} is imported", lambda: stack.log("worker"))


class TestKilled:
    def importers(self, stack: Stack) -> list[psutil.Process]:
        return [child for child in stack.trainers() if "worker.importer" in child.cmdline()]

    @pytest.mark.parametrize("point", ["import.image", "import.before_compare", "import.before_finish"])
    def test_an_import_killed_half_way_starts_again(self, tmp_path: Path, point: str) -> None:
        stack = Stack(tmp_path, KERASD_STANDBY="false")
        try:
            stack.start("valkey")
            stack.start("api")
            stack.start("worker", KERASD_FAILPOINT=point)
            stack.wait_ready()
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(upload, stack, "photos", zip_of_shapes(5))
                until(lambda: self.tries(stack, "photos") > 1, 30, "the import was killed", lambda: stack.log("worker"))
                stack.kill("worker")
                assert stack.http.get("/api/v1/datasets/photos").json()["classes"] == []
                stack.start("worker")
                assert answer.result().status_code == 202
            dataset = wait_imported(stack, "photos")
            assert dataset["state"] == "READY", dataset
            assert dataset["images"]["train"] == 15
            until(lambda: not leftovers(stack), 10, "what the killed tries left is gone", lambda: str(leftovers(stack)))
        finally:
            stack.close()

    def tries(self, stack: Stack, name: str) -> int:
        from sqlalchemy import select

        from core.tables import DatasetRow

        with stack.database.snapshot() as session:
            return session.scalars(select(DatasetRow.attempt).where(DatasetRow.name == name)).one_or_none() or 0

    def test_an_import_that_always_dies_is_rejected(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, KERASD_STANDBY="false")
        try:
            stack.start_all(KERASD_FAILPOINT="import.image")
            upload(stack, "poison", zip_of_shapes(3))
            dataset = wait_imported(stack, "poison")
            assert dataset["state"] == "REJECTED"
            assert "gave up after 3 tries" in dataset["detail"]
            assert stack.http.post("/api/v1/datasets", json={"builtin": "mnist"}).status_code in (202, 422)
        finally:
            stack.close()


class TestFullDisk:
    def test_an_upload_that_does_not_fit_is_507_and_leaves_nothing(self, small_disk: Path) -> None:
        """Row 14."""
        stack = Stack(small_disk, KERASD_STANDBY="false")
        try:
            stack.start("valkey")
            stack.start("api")
            stack.wait_ready()
            answer = upload(stack, "large", os.urandom(20 << 20))
            assert answer.status_code == 507, answer.text
            assert answer.json()["code"] == "insufficient_storage"
            assert leftovers(stack) == []
            assert stack.http.get("/api/v1/datasets").status_code == 200
        finally:
            stack.close()

    def test_an_import_that_does_not_fit_is_rejected_and_the_service_lives_on(self, small_disk: Path) -> None:
        """Row 14: 3 MB of JPEG make 30 MB of pixels."""
        stack = Stack(small_disk, KERASD_STANDBY="false")
        try:
            stack.start_all()
            assert upload(stack, "grows", zip_of_flat_pictures()).status_code == 202
            dataset = wait_imported(stack, "grows")
            assert dataset["state"] == "REJECTED"
            assert "disk is full" in dataset["detail"]
            until(lambda: not leftovers(stack), 10, "the partial dataset is gone", lambda: str(leftovers(stack)))
            assert upload(stack, "small", zip_of_shapes(3)).status_code == 202
            assert wait_imported(stack, "small")["state"] == "READY"
        finally:
            stack.close()

    @pytest.mark.laptop("a database in the data folder")
    def test_a_full_database_is_503_and_sound_afterwards(self, small_disk: Path) -> None:
        """Row 14."""
        stack = Stack(small_disk, KERASD_STANDBY="false")
        filler = small_disk / "data" / "filler"
        try:
            stack.start("valkey")
            stack.start("api")
            stack.wait_ready()
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            statuses = {
                stack.http.post(
                    "/api/v1/jobs", json={"dataset": "digits", "architecture": "lenet", "tags": {"n": "x" * 200}}
                ).status_code
                for _ in range(100)
            }
            assert 503 in statuses
            assert statuses <= {201, 503}
            filler.unlink()
            assert stack.http.get("/api/v1/jobs").status_code == 200
            with stack.database.snapshot() as session:
                assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        finally:
            stack.close()


def zip_of_flat_pictures() -> bytes:
    import io
    import zipfile

    from PIL import Image

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for kind in SHAPES:
            for number in range(14):
                file = io.BytesIO()
                Image.new("RGB", (512, 512), (number, 0, 0)).save(file, "JPEG")
                archive.writestr(f"{kind}/{number}.jpg", file.getvalue())
    return content.getvalue()
