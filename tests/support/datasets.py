"""Imports without a worker: registered, claimed and run in the test's own process."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.artifacts import open_store
from core.database import Database
from core.dataset_content import StoredDataset
from core.datasets import BUILTIN_DATASETS
from core.repositories.claims import Holder
from core.repositories.datasets import Registration, get_dataset, register_dataset, stored_dataset
from core.repositories.imports import claim_import
from core.settings import Settings
from core.tables import LOCAL_TENANT, DatasetRow
from worker.importer import import_dataset
from worker.imports.supervisor import assignment_of

HOLDER = Holder("host/1", "boot-1", 1, 1.0)


def register(
    database: Database, settings: Settings, name: str, files: Sequence[Path], options: Mapping[str, str] | None = None
) -> None:
    """As an upload of these files would; without files, the built-in set of that name."""
    store = open_store(settings)
    uploads = []
    for number, file in enumerate(files):
        stored = store.put(f"uploads/{name}/{number}", file.read_bytes())
        uploads.append({"name": file.name, "path": stored.path, "bytes": stored.bytes, "sha256": stored.sha256})
    source: dict[str, Any] = {"files": [file.name for file in files]} if files else {"builtin": name}
    with database.transaction() as session:
        register_dataset(session, LOCAL_TENANT, Registration(name, source, dict(options or {}), uploads), None)


def import_files(
    database: Database, settings: Settings, name: str, *files: Path, options: Mapping[str, str] | None = None
) -> DatasetRow:
    """The dataset's row after its import has ended, READY or REJECTED."""
    register(database, settings, name, files, options)
    with database.transaction() as session:
        claim = claim_import(session, HOLDER)
    assert claim is not None
    import_dataset(assignment_of(claim), settings)
    return row_of(database, name)


def cifar100_archive(*, per_class: int, test_per_class: int, classes: int = 100) -> bytes:
    """An archive in CIFAR-100's own python form, with fewer images: random pixels, classes in turn."""
    noise = np.random.default_rng(0)
    fine = BUILTIN_DATASETS["cifar100"].labels
    coarse = BUILTIN_DATASETS["cifar100_coarse"].labels
    members = {
        "meta": {b"fine_label_names": _encoded(fine), b"coarse_label_names": _encoded(coarse)},
        **{
            name: {
                b"data": noise.integers(0, 256, (classes * count, 3072), np.uint8),
                b"fine_labels": [number % classes for number in range(classes * count)],
                b"coarse_labels": [number % classes // 5 for number in range(classes * count)],
            }
            for name, count in (("train", per_class), ("test", test_per_class))
        },
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for name, table in members.items():
            batch = pickle.dumps(table, protocol=2)
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(batch)
            archive.addfile(entry, io.BytesIO(batch))
    return content.getvalue()


def _encoded(labels: Sequence[str]) -> list[bytes]:
    return [label.encode() for label in labels]


def row_of(database: Database, name: str) -> DatasetRow:
    with database.snapshot() as session:
        return get_dataset(session, LOCAL_TENANT, name)


def stored(row: DatasetRow) -> StoredDataset:
    assert row.state == "READY", (row.detail, row.errors)
    return stored_dataset(row)
