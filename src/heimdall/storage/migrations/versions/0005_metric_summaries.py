"""Summaries of metric rows, so that a chart of a long run reads as little as one of a short run. They start empty and fill themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metric_summaries",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "level", "bucket", name="pk_metric_summaries"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_metric_summaries_job_id_jobs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
