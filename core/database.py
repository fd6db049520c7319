"""Connections and transactions. `Database.transaction()` is the only place that commits.

SQLite runs in WAL mode with synchronous=FULL and writers BEGIN IMMEDIATE, because a deferred transaction that reads
first and then writes fails at once with SQLITE_BUSY_SNAPSHOT, whatever the busy timeout. Versions before 3.51.3 can
lose a commit when a WAL is reset; where neither pysqlite3 nor the standard library brings a fixed one, a rollback
journal is used instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, Float, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

FIRST_SAFE_WAL = (3, 51, 3)
BUSY_TIMEOUT_MS = 5_000
READ_ONLY = "kerasd_read_only"


class database_now(FunctionElement[float]):  # noqa: N801  (reads as the SQL function that it is)
    """Seconds since 1970 on the database's clock, so that workers with wrong clocks agree on leases."""

    type = Float()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _now_on_sqlite(element: database_now, compiler: SQLCompiler, **kw: Any) -> str:
    # unixepoch('subsec') needs SQLite 3.42; julianday works everywhere, to a millisecond.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _now_on_postgresql(element: database_now, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp, not now(): the latter stands still within a transaction.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def is_away(error: DBAPIError) -> bool:
    """Whether the database did not answer, or broke off: trying again can help."""
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def sqlite_module() -> ModuleType:
    """The newest SQLite at hand: pysqlite3's bundled one, or the standard library's."""
    try:
        import pysqlite3.dbapi2 as bundled
    except ImportError:
        return sqlite3
    if bundled.sqlite_version_info < sqlite3.sqlite_version_info:
        return sqlite3
    module: ModuleType = bundled
    return module


# At import, and so before TensorFlow where this module comes first: TensorFlow exports the symbols of an older SQLite of
# its own, and an extension loaded after it would bind to those (docs/decisions/0006).
SQLITE = sqlite_module()


def journal_mode(version: tuple[int, ...]) -> str:
    """WAL where it is safe, else a rollback journal."""
    return "WAL" if version >= FIRST_SAFE_WAL else "DELETE"


class Database:
    """A database by its SQLAlchemy URL, SQLite or PostgreSQL. Connects at first use."""

    def __init__(self, url: str) -> None:
        on_sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if on_sqlite else _postgres_engine(url)
        # On PostgreSQL each statement sees what is committed, in a transaction or not: reading needs no round trips for one.
        options = {READ_ONLY: True} if on_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reader = self.engine.execution_options(**options)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits when the block ends, and rolls back when it raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A session for reading; nothing is written, and no writer is kept waiting."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    def ping(self) -> None:
        """Raises sqlalchemy.exc.DBAPIError when the database does not answer."""
        with self.snapshot() as session:
            session.execute(text("SELECT 1"))

    def schema_revision(self) -> str | None:
        """The migration that the database is at; None before the first. Raises DBAPIError when it is away."""
        with self._reader.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()

    def close(self) -> None:
        self.engine.dispose()


def _sqlite_engine(url: str) -> Engine:
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, module=SQLITE, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    mode = journal_mode(SQLITE.sqlite_version_info)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the begin hook below says BEGIN, not the driver
        cursor = connection.cursor()
        for pragma in (
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            f"journal_mode={mode}",
            "synchronous=FULL",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgres_engine(url: str) -> Engine:
    return create_engine(
        url,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            "options": "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000",
        },
    )
