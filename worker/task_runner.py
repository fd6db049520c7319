"""`python -m worker.task_runner PARENT`: waits for one assignment on standard input, does that task, exits.

Files of strangers are read in a process that may not use much memory. TensorFlow is imported by exports alone.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
import traceback
from typing import Any

from sqlalchemy.exc import DBAPIError

from core.artifacts import open_store
from core.database import Database
from core.errors import ArtifactStoreAway, FencedOut, KerasdError
from core.repositories.attempts import LEASE_SECONDS
from core.repositories.task_attempts import fail_task
from core.repositories.tasks import TaskAttempt
from core.settings import Settings
from worker.exits import ENDED, exit_code_of
from worker.host import die_with_parent, leave
from worker.ledger import TaskLedger
from worker.tasks.assignment import Assignment, TaskFailed


def main() -> int:
    die_with_parent(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = sys.stdin.readline()
    if not line:
        return ENDED
    document, settings = json.loads(line), Settings()
    if document["uploads"]:
        resource.setrlimit(resource.RLIMIT_AS, (settings.import_memory_bytes, settings.import_memory_bytes))
    return run_task(document, settings)


def run_task(document: dict[str, Any], settings: Settings) -> int:
    """Does the task and records how it ended. Returns the exit code.

    A database or store that stays away is no verdict: the task is left to be tried again.
    """
    attempt = TaskAttempt(**document["attempt"])
    database = Database(settings.database)
    store = open_store(settings, LEASE_SECONDS)
    ledger = TaskLedger(database, attempt)
    assignment = Assignment(document["spec"], document["uploads"], settings, database, store, ledger)
    try:
        return exit_code_of(lambda: _do(document["kind"], assignment))
    finally:
        database.close()


def _do(kind: str, assignment: Assignment) -> None:
    try:
        if kind == "export":
            from worker.tasks.export import run_export

            run_export(assignment)
        else:
            from worker.tasks.batch import run_batch

            run_batch(assignment)
    except (FencedOut, DBAPIError, ArtifactStoreAway):
        raise
    except Exception as error:  # noqa: BLE001  (whatever it is becomes the task's recorded detail)
        detail = _describe(error)
        assignment.store.discard(assignment.attempt.folder)  # first, so that on a full disk there is room to say so
        assignment.ledger.write(lambda session, attempt: fail_task(session, attempt, detail))


def _describe(error: Exception) -> str:
    if isinstance(error, TaskFailed):
        return str(error)
    if isinstance(error, KerasdError):
        return error.detail
    if isinstance(error, MemoryError):
        return "it took more memory than a task may use (KERASD_IMPORT_MEMORY_BYTES)"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free space and ask again"
    traceback.print_exc()
    return f"it failed: {type(error).__name__}: {error}"[:500]


if __name__ == "__main__":
    os.umask(0o077)
    leave(main())
