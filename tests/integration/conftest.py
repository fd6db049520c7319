"""A laboratory for the tests of a module: importing its dataset takes longer than many of its trainings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from laboratory import Laboratory

from core.database import Database


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("laboratory")
    shutil.copy(migrated_sqlite, folder / "kerasd.sqlite3")
    database = Database(f"sqlite:///{folder / 'kerasd.sqlite3'}")
    yield Laboratory(folder, database)
    database.close()
