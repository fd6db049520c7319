"""`python -m migrations.check`: fails when the tables in code and the migrations differ."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from core.database import Database
from core.tables import SCHEMA_REVISION
from migrations.schema import differences, newest_revision, upgrade


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'check.sqlite3'}")
        upgrade(database)
        found = differences(database)
        database.close()
    for difference in found:
        print(f"not migrated: {difference}", file=sys.stderr)
    if newest_revision() != SCHEMA_REVISION:
        print(f"core.tables is for revision {SCHEMA_REVISION}, the newest is {newest_revision()}", file=sys.stderr)
        return 1
    print(f"migrations: {newest_revision()} matches the tables" if not found else "migrations: a revision is missing")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
