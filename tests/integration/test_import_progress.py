"""What an import tells on its way, as the watchdog and people see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import HOLDER, register, row_of
from pictures import zip_of_shapes

from core.database import Database
from core.repositories.imports import claim_import, renew_import
from core.settings import Settings
from worker.imports import progress as told
from worker.imports.progress import ImportProgress
from worker.ledger import ImportLedger


@pytest.fixture
def ledger(database: Database, database_url: str, tmp_path: Path) -> ImportLedger:
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url, offline=True)
    file = tmp_path / "photos.zip"
    file.write_bytes(zip_of_shapes(4))
    register(database, settings, "photos", [file])
    with database.transaction() as session:
        claim = claim_import(session, HOLDER)
    assert claim is not None
    return ImportLedger(database, claim.attempt)


def seen(ledger: ImportLedger) -> dict[str, Any]:
    """As the watchdog sees it."""
    return ledger.write(renew_import)


class TestComparing:
    def test_each_share_is_a_step_forward(self, ledger: ImportLedger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(told, "EVERY_SECONDS", 0.0)
        progress = ImportProgress(ledger, 1000)
        progress.begin("comparing", 400)
        assert (seen(ledger)["files_done"], seen(ledger)["files_total"]) == (0, 400)
        progress.compared(0.25)
        first = seen(ledger)
        assert (first["phase"], first["files_done"]) == ("comparing", 100)
        assert first["eta_seconds"] is not None
        progress.compared(0.5)
        assert seen(ledger)["files_done"] == 200

    def test_the_end_is_always_told(self, ledger: ImportLedger, database: Database) -> None:
        progress = ImportProgress(ledger, 1000)
        progress.begin("comparing", 400)
        progress.compared(1.0)
        assert row_of(database, "photos").progress["files_done"] == 400
        assert seen(ledger)["eta_seconds"] == 0
