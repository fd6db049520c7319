"""`python -m worker.importer PARENT`: waits for one assignment on standard input, imports that dataset, exits.

Files of strangers are opened and decoded here and in the task runner: in a process that may not use much memory, is ended
when it makes no progress, and takes nothing with it when it crashes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from typing import Any

from sqlalchemy.exc import DBAPIError

from core.artifacts import open_store
from core.database import Database
from core.errors import ArtifactStoreAway, FencedOut
from core.repositories.imports import ImportAttempt, Rejection, reject_import
from core.settings import Settings
from worker.exits import ENDED, exit_code_of
from worker.host import die_with_parent, leave
from worker.imports.run import describe, run_import
from worker.ledger import ImportLedger


def main() -> int:
    die_with_parent(int(sys.argv[1]))
    settings = Settings()
    resource.setrlimit(resource.RLIMIT_AS, (settings.import_memory_bytes, settings.import_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = sys.stdin.readline()
    return import_dataset(json.loads(line), settings) if line else ENDED


def import_dataset(assignment: dict[str, Any], settings: Settings) -> int:
    """Runs the import and records how it ended. Returns the exit code.

    A database or store that stays away is no verdict: the import is left to be tried again.
    """
    attempt = ImportAttempt(assignment["tenant"], assignment["dataset_id"], assignment["number"])
    database = Database(settings.database)
    ledger = ImportLedger(database, attempt)
    try:
        return exit_code_of(lambda: _import(assignment, ledger, settings))
    finally:
        database.close()


def _import(assignment: dict[str, Any], ledger: ImportLedger, settings: Settings) -> None:
    try:
        run_import(assignment, ledger, settings)
    except (FencedOut, DBAPIError, ArtifactStoreAway):
        raise
    except Exception as error:  # noqa: BLE001  (whatever it is becomes the dataset's recorded detail)
        rejection = describe(error)
        if rejection is None:
            traceback.print_exc()
            rejection = Rejection(f"the import failed: {type(error).__name__}: {error}"[:500], [], 0)
        # First, so that on a full disk there is room to say so.
        open_store(settings).discard(ledger.attempt.folder)
        ledger.write(lambda session, attempt: reject_import(session, attempt, rejection))


if __name__ == "__main__":
    os.umask(0o077)
    leave(main())
