"""Errors that are no fault of the request: what they become."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.database import SQLITE
from service.problems import problem


def busy(file: Path) -> Exception:
    """What a writer gets while another holds the database."""
    engine = create_engine(f"sqlite:///{file}", module=SQLITE, connect_args={"timeout": 0, "isolation_level": None})
    with engine.connect() as first, engine.connect() as second:
        first.execute(text("BEGIN IMMEDIATE"))
        with pytest.raises(OperationalError) as raised:
            second.execute(text("BEGIN IMMEDIATE"))
    engine.dispose()
    return raised.value


class TestUnavailable:
    def test_a_blocked_writer_is_told_that_the_database_is_busy(self, tmp_path: Path) -> None:
        status, body = problem(busy(tmp_path / "a.sqlite3"), "id")
        assert (status, body["code"]) == (503, "database_busy")

    def test_so_is_who_got_no_connection(self) -> None:
        status, body = problem(PoolTimeout(), "id")
        assert (status, body["code"]) == (503, "database_busy")

    def test_a_database_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        engine = create_engine(f"sqlite:///{tmp_path / 'nowhere' / 'a.sqlite3'}", module=SQLITE)
        with pytest.raises(OperationalError) as raised:
            engine.connect()
        status, body = problem(raised.value, "id")
        assert (status, body["code"]) == (503, "database_unavailable")

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
    def test_without_descriptors_the_service_is_overloaded(self, number: int) -> None:
        status, body = problem(OSError(number, os.strerror(number)), "id")
        assert (status, body["code"]) == (503, "overloaded")

    def test_any_other_trouble_with_files_is_a_mistake_of_ours(self) -> None:
        status, body = problem(PermissionError(errno.EACCES, "denied"), "id")
        assert (status, body["code"]) == (500, "internal_error")
