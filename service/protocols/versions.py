"""What is published, as the protocols list it. Read from the database, on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.database import Database
from core.repositories.models import get_best, get_version, published_versions
from core.tables import ModelVersionRow
from service.operations.readiness import database_state


@dataclass(frozen=True)
class Described:
    """A model: one version of it in full, and the numbers of all."""

    row: ModelVersionRow
    best: int
    versions: Sequence[int]
    """ascending"""

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """-1 is any number of images."""
        shape: dict[str, Any] = self.row.input_shape
        return -1, int(shape["height"]), int(shape["width"]), int(shape["channels"])

    @property
    def output_shape(self) -> tuple[int, int]:
        return -1, len(self.row.labels)


class Published:
    """The published versions of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    async def describe(self, name: str, version: int | None) -> Described:
        """That version, or the best one. Raises ModelNotFound, DBAPIError."""
        return await asyncio.to_thread(self._describe, name, version)

    async def everything(self) -> Sequence[tuple[str, int]]:
        """Name and number of every version, in that order. Raises DBAPIError."""
        return await asyncio.to_thread(self._everything)

    async def database_state(self) -> str:
        """What is wrong with the database, or "ok"."""
        return await asyncio.to_thread(database_state, self._database)

    def _describe(self, name: str, version: int | None) -> Described:
        with self._database.snapshot() as session:
            best = get_best(session, self._tenant, name).version
            row = get_version(session, self._tenant, name, version or best).row
            return Described(row, best, [number for _, number in published_versions(session, self._tenant, name)])

    def _everything(self) -> Sequence[tuple[str, int]]:
        with self._database.snapshot() as session:
            return published_versions(session, self._tenant)
