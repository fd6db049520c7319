"""Removes what no row needs from the store: folders of imports that were killed, uploads that were never registered."""

from __future__ import annotations

import time

import structlog

from core.artifacts import ArtifactStore
from core.database import Database
from core.repositories.datasets import referenced

log = structlog.get_logger("kerasd.worker")

GRACE_SECONDS = 24 * 3600.0
"""An upload that is still arriving has no row yet."""


def sweep_store(database: Database, store: ArtifactStore, grace_seconds: float = GRACE_SECONDS) -> list[str]:
    """Returns what was removed. Any number of workers may do so at once."""
    removed = []
    for folder in ("datasets", "uploads"):
        entries = store.entries(folder)
        with database.snapshot() as session:
            needed = referenced(session, list(entries))
        for name, changed in entries.items():
            if name not in needed and time.time() - changed > grace_seconds:
                store.delete(f"{folder}/{name}")
                removed.append(f"{folder}/{name}")
    if removed:
        log.info("removed what nothing needs", folders=len(removed))
    return removed
