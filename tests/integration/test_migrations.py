"""The schema on both engines."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import rows
from alembic import command

from core.database import Database
from core.repositories.jobs import JobFilter, list_jobs
from core.tables import LOCAL_TENANT, SCHEMA_REVISION
from migrations.schema import _config, differences, newest_revision, upgrade

KILLED_UPGRADE = """
import os, signal, sys
from sqlalchemy import event
from core.database import Database
from migrations.schema import upgrade
database = Database(sys.argv[1])
@event.listens_for(database.engine, "before_cursor_execute")
def die(connection, cursor, statement, parameters, context, many):
    if "CREATE TABLE artifacts" in statement:
        os.kill(os.getpid(), signal.SIGKILL)
upgrade(database)
"""


class TestUpgrade:
    def test_it_brings_an_empty_database_to_the_tables_in_code(self, empty_url: str) -> None:
        database = Database(empty_url)
        assert database.schema_revision() is None
        assert upgrade(database) == SCHEMA_REVISION == newest_revision()
        assert database.schema_revision() == SCHEMA_REVISION
        assert differences(database) == []
        database.close()

    def test_again_changes_nothing(self, database: Database) -> None:
        upgrade(database)
        assert differences(database) == []

    def test_two_at_once_both_succeed(self, empty_url: str) -> None:
        databases = [Database(empty_url), Database(empty_url)]
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(upgrade, databases)) == [SCHEMA_REVISION] * 2
        for database in databases:
            database.close()

    def test_jobs_from_before_are_found_by_their_tags(self, database: Database) -> None:
        """Revision 0005 copies tags into a table of their own."""
        job = rows.submit(database, tags={"course": "cv", "long": "x" * 256})
        with database.engine.begin() as connection:
            command.downgrade(_config(connection), "0004")
        upgrade(database)
        assert differences(database) == []
        with database.snapshot() as session:
            for tag in (("course", None), ("long", "x" * 256)):
                only = JobFilter(tag=tag)
                found = list_jobs(session, LOCAL_TENANT, only, limit=10, after=None, descending=True)
                assert [row.id for row in found] == [job]

    def test_one_killed_half_way_is_simply_run_again(self, empty_url: str) -> None:
        """Row 38 of the fault matrix."""
        killed = subprocess.run([sys.executable, "-c", KILLED_UPGRADE, empty_url], check=False, timeout=60)
        assert killed.returncode == -signal.SIGKILL
        database = Database(empty_url)
        assert upgrade(database) == SCHEMA_REVISION
        assert differences(database) == []
        database.close()
