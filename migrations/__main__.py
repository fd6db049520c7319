"""`python -m migrations`: applies the migrations to the configured database."""

from __future__ import annotations

from core.database import Database
from core.settings import Settings
from migrations.schema import upgrade

if __name__ == "__main__":
    database = Database(Settings().database)
    print(f"the database is at revision {upgrade(database)}")
    database.close()
