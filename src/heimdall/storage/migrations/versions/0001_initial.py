"""The first schema: jobs, metrics, events, logs, data sets, models."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
_CODE_POINTS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_jobs()
    _create_metrics()
    _create_events()
    _create_logs()
    _create_datasets()
    _create_models()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_folded", _CODE_POINTS, nullable=False),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("pending_action", sa.Text()),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("started_at", _INSTANT),
        sa.Column("completed_at", _INSTANT),
        sa.Column("status_changed_at", _INSTANT),
        sa.Column("progress_percent", sa.Float(), nullable=False),
        sa.Column("current_epoch", sa.Integer(), nullable=False),
        sa.Column("total_epochs", sa.Integer(), nullable=False),
        sa.Column("estimated_completion", _INSTANT),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text()),
        sa.Column("best_epoch", sa.Integer()),
        sa.Column("best_val_loss", sa.Float()),
        sa.Column("best_val_error_median_m", sa.Float()),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("continued_from", sa.Text()),
        sa.Column("resume_is_exact", sa.Boolean()),
        sa.Column("worker_id", sa.Text()),
        sa.Column("worker_seen_at", _INSTANT),
        sa.Column("lease_expires_at", _INSTANT),
        sa.Column("losses", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_enqueue_at", _INSTANT),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("checkpoint", sa.Text()),
        sa.Column("device", sa.Text()),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_detail", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
    )
    op.create_index("ix_jobs_created_at_id", "jobs", ["created_at", "id"])
    op.create_index("ix_jobs_name_folded_id", "jobs", ["name_folded", "id"])
    op.create_index("ix_jobs_status_version", "jobs", ["status", "version"])
    op.create_index("ix_jobs_dataset_id", "jobs", ["dataset_id"])


def _create_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("timestamp", _INSTANT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.Float()),
        sa.Column("val_loss", sa.Float()),
        sa.Column("train_accuracy", sa.Float()),
        sa.Column("val_accuracy", sa.Float()),
        sa.Column("learning_rate", sa.Float()),
        sa.Column("epoch_duration_seconds", sa.Float()),
        sa.Column("val_error_median_m", sa.Float()),
        sa.Column("val_error_p68_m", sa.Float()),
        sa.Column("val_error_p95_m", sa.Float()),
        sa.Column("val_nll", sa.Float()),
        sa.Column("val_coverage_68", sa.Float()),
        sa.Column("grad_norm", sa.Float()),
        sa.Column("samples_per_second", sa.Float()),
        sa.Column("non_finite", sa.Text()),
        sa.PrimaryKeyConstraint("job_id", "epoch", name="pk_metrics"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_metrics_job_id_jobs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("position", _POSITION, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_events"),
        sa.UniqueConstraint("job_id", "seq", name="uq_events_job_id_seq"),
        sqlite_autoincrement=True,
    )


def _create_logs() -> None:
    op.create_table(
        "logs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("timestamp", _INSTANT, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_logs"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_logs_job_id_jobs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )


def _create_datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_folded", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("content_hash", sa.Text()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_content_hash", "datasets", ["content_hash"])


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("bundle_hash", sa.Text()),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("bundle_hash", name="uq_models_bundle_hash"),
        sa.UniqueConstraint("name", "version", name="uq_models_name_version"),
    )
