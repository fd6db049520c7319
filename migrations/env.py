"""Alembic's entry point: runs inside the connection that migrations/schema.py hands over."""

from __future__ import annotations

from alembic import context

from core.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite can alter a table only by copying it
    compare_type=True,
    transaction_per_migration=False,
)
context.run_migrations()
