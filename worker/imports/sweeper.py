"""Removes what no row needs from the store: folders of imports and tasks that were killed, uploads never registered."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog
from sqlalchemy import select

from core.artifacts import ArtifactStore
from core.database import Database, database_now
from core.repositories.datasets import referenced
from core.repositories.tasks import FOLDER as TASKS
from core.repositories.tasks import needed_folders
from core.tables import DatasetRow

log = structlog.get_logger("kerasd.worker")

GRACE_SECONDS = 3600.0
"""An upload that is still arriving has no row yet; the slowest that is waited for writes a block more often than this."""


UNSEEN_TIMES = 24
"""the grace on S3, where a file that is still arriving cannot be seen to grow"""


def sweep_caches(database: Database, cache: Path) -> None:
    """Removes resized and fetched copies of datasets that are gone from this machine."""
    with database.snapshot() as session:
        digests = set(session.scalars(select(DatasetRow.digest)))
    for kind in ("pixels", "datasets"):
        for folder in (cache / kind).glob("*"):
            if folder.name not in digests:
                shutil.rmtree(folder, ignore_errors=True)


def sweep_store(database: Database, store: ArtifactStore, grace_seconds: float = GRACE_SECONDS) -> list[str]:
    """Returns what was removed. Any number of workers may do so at once."""
    removed = []
    if store.local_path("") is None:
        grace_seconds *= UNSEEN_TIMES
    store.drop_unfinished(grace_seconds)
    for folder in ("datasets", "uploads", TASKS):
        entries = store.entries(folder)
        with database.snapshot() as session:
            needed = needed_folders(session) if folder == TASKS else referenced(session, list(entries))
            now = session.scalars(select(database_now())).one()  # this worker's own clock may be wrong
        for name, changed in entries.items():
            if name in needed:
                continue
            inside = store.entries(f"{folder}/{name}").values()
            if now - max(changed, *inside, 0.0) > grace_seconds:
                store.delete(f"{folder}/{name}")
                removed.append(f"{folder}/{name}")
    if removed:
        log.info("removed what nothing needs", folders=len(removed))
    return removed
