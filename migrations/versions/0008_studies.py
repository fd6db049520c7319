"""Studies: their variants, runs, events and idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
TEXT = sa.String(length=255)


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("spec", DOCUMENT, nullable=False),
        sa.Column("objective", DOCUMENT, nullable=False),
        sa.Column("dataset", TEXT, nullable=False),
        sa.Column("stand_in", sa.Boolean(), nullable=False),
        sa.Column("request_id", TEXT, nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.Column("progress", DOCUMENT, nullable=False),
        sa.Column("warnings", DOCUMENT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
    )
    op.create_index("ix_studies_listing", "studies", ["tenant_id", "created_at", "id"])
    op.create_index("ix_studies_of_state", "studies", ["state", "created_at"])
    op.create_table(
        "study_variants",
        sa.Column("study_id", TEXT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("architecture", TEXT, nullable=False),
        sa.Column("body", DOCUMENT, nullable=False),
        sa.Column("spec", DOCUMENT, nullable=False),
        sa.Column("levels", DOCUMENT, nullable=False),
        sa.Column("starts_from", DOCUMENT, nullable=True),
        sa.Column("donor", sa.Boolean(), nullable=False),
        sa.Column("search", DOCUMENT, nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_variants_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "number", name=op.f("pk_study_variants")),
    )
    op.create_table(
        "study_runs",
        sa.Column("study_id", TEXT, nullable=False),
        sa.Column("variant", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("job_id", TEXT, nullable=True),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("told", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_runs_study_id_studies"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_study_runs_job_id_jobs"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("study_id", "variant", "seed", name=op.f("pk_study_runs")),
    )
    op.create_index("ix_study_runs_job", "study_runs", ["job_id"])
    op.create_table(
        "study_events",
        sa.Column("study_id", TEXT, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_events_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "sequence", name=op.f("pk_study_events")),
    )
    with op.batch_alter_table("idempotency_keys") as table:
        table.alter_column("job_id", existing_type=TEXT, nullable=True)
        table.add_column(sa.Column("study_id", TEXT, nullable=True))
        table.create_foreign_key(
            op.f("fk_idempotency_keys_study_id_studies"), "studies", ["study_id"], ["id"], ondelete="CASCADE"
        )


def downgrade() -> None:
    op.execute("DELETE FROM idempotency_keys WHERE job_id IS NULL")
    with op.batch_alter_table("idempotency_keys") as table:
        table.drop_constraint(op.f("fk_idempotency_keys_study_id_studies"), type_="foreignkey")
        table.drop_column("study_id")
        table.alter_column("job_id", existing_type=TEXT, nullable=False)
    op.drop_table("study_events")
    op.drop_table("study_runs")
    op.drop_table("study_variants")
    op.drop_table("studies")
