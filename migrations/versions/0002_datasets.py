"""Datasets with imports under a lease, their events, named views; jobs know the dataset that they wait for."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TERMINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


def upgrade() -> None:
    datasets = op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("tenant_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=255), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("source", DOCUMENT, nullable=False),
        sa.Column("options", DOCUMENT, nullable=False),
        sa.Column("uploads", DOCUMENT, nullable=False),
        sa.Column("request_id", sa.String(length=255), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost_attempts", sa.Integer(), nullable=False),
        sa.Column("lease_expires_at", sa.Float(precision=53), nullable=True),
        sa.Column("boot_id", sa.String(length=255), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("process_started", sa.Float(precision=53), nullable=True),
        sa.Column("progress", DOCUMENT, nullable=False),
        sa.Column("content", DOCUMENT, nullable=True),
        sa.Column("digest", sa.String(length=255), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("report", DOCUMENT, nullable=True),
        sa.Column("errors", DOCUMENT, nullable=False),
        sa.Column("errors_total", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
    )
    op.create_index(op.f("ix_datasets_digest"), "datasets", ["digest"])
    op.create_index("ix_datasets_listing", "datasets", ["tenant_id", "created_at", "id"])
    op.create_index("ix_datasets_queue", "datasets", ["state", "created_at"])
    op.create_index("uq_datasets_name", "datasets", ["tenant_id", "name"], unique=True)
    op.create_table(
        "views",
        sa.Column("tenant_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("identity", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_views")),
    )
    op.create_table(
        "dataset_events",
        sa.Column("dataset_id", sa.String(length=255), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=255), nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_events_dataset_id_datasets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset_id", "sequence", name=op.f("pk_dataset_events")),
    )
    # No foreign key: SQLite could add one only by copying the table and dropping the old one, which would delete every
    # epoch and event by cascade.
    op.add_column("jobs", sa.Column("dataset_id", sa.String(length=255), nullable=True))
    op.create_index(op.f("ix_jobs_dataset_id"), "jobs", ["dataset_id"])
    if datasets is not None:
        _import_what_jobs_wait_for(datasets)


def _import_what_jobs_wait_for(datasets: sa.Table) -> None:
    """Until now the only datasets were built-in ones, read by each trainer for itself."""
    jobs = sa.table("jobs", *(sa.column(name) for name in ("tenant_id", "dataset", "dataset_id", "state")))
    waiting = sa.select(jobs.c.tenant_id, jobs.c.dataset).where(jobs.c.state.not_in(TERMINAL)).distinct()
    for tenant, name in op.get_bind().execute(waiting).all():
        own_id = uuid.uuid4().hex
        op.get_bind().execute(
            datasets.insert().values(
                id=own_id,
                tenant_id=tenant,
                name=name,
                state="IMPORTING",
                source={"builtin": name},
                options={},
                uploads=[],
                revision=1,
                last_event=0,
                attempt=0,
                lost_attempts=0,
                progress={
                    "phase": "waiting",
                    "files_done": 0,
                    "files_total": None,
                    "bytes_done": 0,
                    "bytes_total": None,
                    "eta_seconds": None,
                },
                errors=[],
                errors_total=0,
                created_at=datetime.now(UTC),
            )
        )
        mine = sa.and_(jobs.c.tenant_id == tenant, jobs.c.dataset == name, jobs.c.state.not_in(TERMINAL))
        op.get_bind().execute(sa.update(jobs).where(mine).values(dataset_id=own_id))


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_dataset_id"), table_name="jobs")
    op.drop_column("jobs", "dataset_id")
    op.drop_table("dataset_events")
    op.drop_table("views")
    op.drop_index("uq_datasets_name", table_name="datasets")
    op.drop_index("ix_datasets_queue", table_name="datasets")
    op.drop_index("ix_datasets_listing", table_name="datasets")
    op.drop_index(op.f("ix_datasets_digest"), table_name="datasets")
    op.drop_table("datasets")
