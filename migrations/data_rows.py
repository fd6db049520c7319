"""Copying every row of one database into another, empty one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import JSON, Insert, bindparam, func, insert, select, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from core.tables import Table

BATCH_ROWS = 1000

_NULLABLE_DOCUMENT = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""An absent document stays NULL; the ORM's own type would write the JSON word null."""

TABLES: tuple[SqlTable, ...] = tuple(Table.metadata.sorted_tables)
"""Each after those that it refers to."""


def count_rows(session: Session) -> dict[str, int]:
    """Of every table, by its name."""
    return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES}


def copy_rows(source: Session, target: Session, advance: Callable[[int], object]) -> None:
    """Copies all rows; `advance` hears of each batch. The caller commits: the target has all of them or none."""
    for table in TABLES:
        statement = _insert_into(table)
        rows = source.execute(select(table), execution_options={"yield_per": BATCH_ROWS}).mappings()
        for batch in rows.partitions():
            target.execute(statement, [{name: _storable(value) for name, value in row.items()} for row in batch])
            advance(len(batch))
        _continue_numbers(target, table)


def _insert_into(table: SqlTable) -> Insert:
    documents = [column for column in table.columns if isinstance(column.type, JSON)]
    return insert(table).values({column.name: bindparam(column.name, type_=_NULLABLE_DOCUMENT) for column in documents})


def _storable(value: Any) -> Any:
    """The value without NUL characters, which SQLite stores and PostgreSQL does not: a log may hold some."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _continue_numbers(target: Session, table: SqlTable) -> None:
    """PostgreSQL numbers new rows by a sequence, which does not see the numbers that were copied."""
    column = table.autoincrement_column
    if column is None or target.get_bind().dialect.name != "postgresql":
        return
    newest = target.scalar(select(func.max(column)))
    if newest is not None:
        target.execute(
            text("SELECT setval(pg_get_serial_sequence(:table, :column), :newest)"),
            {"table": table.name, "column": column.name, "newest": newest},
        )
