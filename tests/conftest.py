"""Databases on both engines and a broker, all real. Servers start once a session, at their first use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import S3, Postgres, running_postgres, running_s3, running_valkey

from core.database import Database
from migrations.schema import upgrade

ENGINES = ("sqlite", "postgres")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--topology",
        choices=["laptop", "cluster"],
        default="laptop",
        help="what the end-to-end tests run on: SQLite and the embedded Valkey, or PostgreSQL, Valkey on TCP and two APIs",
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """A Valkey that all tests share: use a queue or key of your own, or leave it as it was."""
    with running_valkey() as server:
        yield server.url


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 that all tests share: take a bucket of your own, and let it answer again."""
    with running_s3() as server:
        yield server


@pytest.fixture(params=("folder", "s3"))
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of an empty artifact store, of each kind in turn."""
    if request.param == "folder":
        return {"artifacts_url": str(tmp_path / "artifacts")}
    server: S3 = request.getfixturevalue("s3")
    return server.fields()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy: migrating takes longer."""
    file = tmp_path_factory.mktemp("template") / "kerasd.sqlite3"
    database = Database(f"sqlite:///{file}")
    upgrade(database)
    database.close()
    return file


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables, on each engine in turn."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(migrated=False) as url:
        yield url


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database of the test's own, on each engine in turn."""
    if engine == "sqlite":
        file = tmp_path / "kerasd.sqlite3"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), file)
        yield f"sqlite:///{file}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(migrated=True) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database of the test's own, on each engine in turn; it must be left with no connection in use."""
    database = Database(database_url)
    yield database
    in_use = database.engine.pool.checkedout()  # type: ignore[attr-defined]
    database.close()
    assert in_use == 0


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No KERASD_* variables, in an empty folder: what the command line finds on a machine that is new to it."""
    for name in [name for name in os.environ if name.startswith("KERASD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
