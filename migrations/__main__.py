"""`python -m migrations`: applies the migrations to the configured database, and makes the bucket of the artifacts."""

from __future__ import annotations

import sys

from core.artifacts import open_store
from core.database import Database
from core.errors import ArtifactStoreFailed
from core.settings import Settings
from migrations.schema import upgrade

if __name__ == "__main__":
    settings = Settings()
    database = Database(settings.database)
    print(f"the database is at revision {upgrade(database)}")
    database.close()
    try:
        open_store(settings).prepare()
    except ArtifactStoreFailed as error:
        sys.exit(f"kerasd: {error.detail}")
