"""Listings: pages of jobs by state, architecture, dataset or tag without reading all jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COPY_TAGS = {
    "sqlite": "SELECT jobs.id, tag.key, tag.value, jobs.tenant_id, jobs.created_at FROM jobs, json_each(jobs.tags) AS tag",
    "postgresql": "SELECT jobs.id, tag.key, tag.value, jobs.tenant_id, jobs.created_at FROM jobs, jsonb_each_text(jobs.tags) AS tag",
}


def upgrade() -> None:
    for column in ("state", "architecture", "dataset"):
        op.create_index(f"ix_jobs_of_{column}", "jobs", ["tenant_id", column, "created_at", "id"])
    op.create_table(
        "job_tags",
        sa.Column("job_id", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.Column("tenant_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_tags_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "key", name=op.f("pk_job_tags")),
    )
    op.create_index("ix_job_tags_of_key", "job_tags", ["tenant_id", "key", "created_at", "job_id"])
    op.create_index("ix_job_tags_of_value", "job_tags", ["tenant_id", "key", "value", "created_at", "job_id"])
    copy = COPY_TAGS[op.get_bind().dialect.name]
    op.execute(f"INSERT INTO job_tags (job_id, key, value, tenant_id, created_at) {copy}")


def downgrade() -> None:
    op.drop_table("job_tags")
    for column in ("state", "architecture", "dataset"):
        op.drop_index(f"ix_jobs_of_{column}", "jobs")
