"""Bringing a database to the newest schema, and telling whether it is there.

The whole upgrade is one transaction on both engines, so a migration killed half-way leaves nothing behind and is simply
run again. Concurrent upgrades wait for each other: BEGIN IMMEDIATE on SQLite, an advisory lock on PostgreSQL.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.database import Database
from core.tables import Table

ADVISORY_LOCK = 0x6B65726173640001  # "kerasd", 1


def upgrade(database: Database) -> str:
    """Applies what is missing. Returns the revision that the database now has."""
    with database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        command.upgrade(_config(connection), "head")
    return newest_revision()


def newest_revision() -> str:
    head = ScriptDirectory.from_config(_config(None)).get_current_head()
    if head is None:
        raise RuntimeError("the migrations folder holds no revision")
    return head


def differences(database: Database) -> list[object]:
    """What the tables in code have that the migrated database lacks, or the other way round."""
    with database.engine.connect() as connection:
        return list(
            compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Table.metadata)
        )


def write_revision(database: Database, message: str) -> None:
    """Drafts a revision from those differences, for a developer to finish."""
    with database.engine.begin() as connection:
        command.revision(_config(connection), message=message, autogenerate=True)


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
