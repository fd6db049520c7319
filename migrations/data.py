"""`python -m migrations.data --from DIR`: copies a laptop's state into the configured database and artifact store.

Files first, then all rows in one transaction: a row makes its file exist, and a copy that is killed leaves a database
without rows, and files that the next try finds and checks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as PrintedTable
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore, open_store
from core.database import Database
from core.errors import ArtifactCorrupt, ArtifactStoreFailed
from core.failpoints import failpoint
from core.settings import Settings
from core.states import HELD, DatasetState, TaskState
from core.tables import SCHEMA_REVISION, DatasetRow, JobRow, TaskRow
from migrations.data_files import NamedFile, copy_file, named_files
from migrations.data_rows import copy_rows, count_rows

PATIENCE_SECONDS = 60.0
"""for an S3 server that is away: a copy may have run for hours"""
MOST_NAMED = 20
FAILED, INVALID = 1, 2


class CannotMove(Exception):
    """Nothing became visible in the target. The message says what to do."""


@dataclass(frozen=True)
class State:
    """A database and its artifacts."""

    database: Database
    store: ArtifactStore


@dataclass(frozen=True)
class Moved:
    rows: dict[str, int]
    copied: int
    there_already: int
    left_out: tuple[str, ...]


def move(source: State, target: State, progress: Progress, *, skip_damaged: bool = False) -> Moved:
    """Copies everything. Raises CannotMove."""
    _check_revision(source.database, "the source")
    _check_revision(target.database, "the target")
    with source.database.snapshot() as rows:
        _refuse_while_busy(rows)
        with target.database.snapshot() as session:
            _refuse_rows(session)
        files = named_files(rows)
        copied, damaged = _copy_files(files, source.store, target.store, progress)
        if damaged and not skip_damaged:
            raise CannotMove(_told_damaged(damaged))
        counts = _copy_all_rows(rows, target.database, progress)
    return Moved(counts, copied, len(files) - copied - len(damaged), tuple(damaged))


def _check_revision(database: Database, which: str) -> None:
    found = database.schema_revision()
    if found != SCHEMA_REVISION:
        raise CannotMove(
            f"{which}'s database is at revision {found or 'none'}, this kerasd needs {SCHEMA_REVISION}: "
            "run `kerasd migrate` on it first, with this version of kerasd"
        )


def _refuse_while_busy(session: Session) -> None:
    held = session.execute(select(JobRow.id, JobRow.state).where(JobRow.state.in_(HELD))).all()
    if held:
        raise CannotMove(
            f"{len(held)} job(s) of the source have not stopped ({_some([f'{job} {state}' for job, state in held])}): "
            "pause them (`kerasd pause ID`) or wait for their end, then stop that server"
        )
    importing = session.scalars(
        select(DatasetRow.name).where(
            DatasetRow.state == DatasetState.IMPORTING, DatasetRow.lease_expires_at.is_not(None)
        )
    ).all()
    if importing:
        raise CannotMove(f"the source is importing {_some(importing)}: wait for the end, then stop that server")
    working = session.scalars(select(TaskRow.id).where(TaskRow.state == TaskState.RUNNING)).all()
    if working:
        raise CannotMove(f"the source is at task {_some(working)}: wait for the end, then stop that server")


def _refuse_rows(session: Session) -> None:
    filled = {name: count for name, count in count_rows(session).items() if count}
    if filled:
        found = ", ".join(f"{name} {count}" for name, count in filled.items())
        raise CannotMove(
            f"the target has rows already ({found}). Only an empty, migrated database is filled: move before the first "
            "worker starts, or take another database"
        )


def _copy_files(
    files: Sequence[NamedFile], source: ArtifactStore, target: ArtifactStore, progress: Progress
) -> tuple[int, list[str]]:
    """How many were copied, and what is wrong with those that cannot be."""
    task = progress.add_task(f"{len(files)} files", total=sum(file.bytes for file in files))
    copied, damaged = 0, []
    for file in files:
        try:
            copied += copy_file(file, source, target)
        except ArtifactCorrupt as error:
            damaged.append(error.detail)
        progress.advance(task, file.bytes)
        failpoint("move.file")
    return copied, damaged


def _copy_all_rows(source: Session, target: Database, progress: Progress) -> dict[str, int]:
    expected = count_rows(source)
    task = progress.add_task(f"{sum(expected.values())} rows", total=sum(expected.values()))
    try:
        with target.transaction() as session:
            _refuse_rows(session)
            copy_rows(source, session, lambda rows: progress.advance(task, rows))
            counts = count_rows(session)
            if counts != expected:
                raise CannotMove(f"the target would hold {counts} where the source holds {expected}")
            failpoint("move.before_commit")
    except IntegrityError as error:
        raise CannotMove(f"somebody else wrote to the target meanwhile: {error.orig}") from error
    return counts


def _told_damaged(damaged: Sequence[str]) -> str:
    return (
        f"{len(damaged)} file(s) of the source cannot be copied: {_some(damaged)}. Restore them, or leave them out with "
        "--skip-damaged: their models and datasets will be there and answer that they are damaged"
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="kerasd migrate-data")
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--skip-damaged", action="store_true")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        with _opened(options.source) as (source, target), _bar(console) as progress:
            moved = move(source, target, progress, skip_damaged=options.skip_damaged)
    except CannotMove as error:
        print(f"kerasd: {error}", file=sys.stderr)
        return INVALID
    except ArtifactStoreFailed as error:
        print(f"kerasd: {error.detail}; run it again, it goes on with the files that are missing", file=sys.stderr)
        return FAILED
    except DBAPIError as error:
        print(f"kerasd: the database does not do it: {error.orig}; run it again", file=sys.stderr)
        return FAILED
    _print(console, moved)
    return 0


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[State, State]]:
    """Source and target."""
    source, target = Settings(data_dir=folder, database_url=None, artifacts_url=None), Settings()
    file = source.data_dir / "kerasd.sqlite3"
    if not file.is_file():
        raise CannotMove(f"there is no {file}: name a data folder, as `kerasd up` makes it")
    if source.database == target.database:
        raise CannotMove("source and target are the same database: set KERASD_DATABASE_URL to the cluster's")
    with closing(Database(source.database)) as laptop, closing(Database(target.database)) as cluster:
        yield State(laptop, open_store(source)), State(cluster, open_store(target, PATIENCE_SECONDS))


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _print(console: Console, moved: Moved) -> None:
    table = PrintedTable("table", "rows", box=None, pad_edge=False)
    for name, count in moved.rows.items():
        table.add_row(name, str(count))
    console.print(table)
    console.print(f"files: {moved.copied} copied, {moved.there_already} there already, {len(moved.left_out)} left out")
    for detail in moved.left_out:
        console.print(f"  {detail}")


if __name__ == "__main__":
    sys.exit(main())
