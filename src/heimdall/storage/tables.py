"""The schema: a column for what is queried or sorted, one JSON document for the rest of an entity.

``migrations/versions`` builds the same schema; a test compares the two on both databases.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.storage.column_types import CleanText, InstantColumn, JsonText

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_CODE_POINT_ORDER: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Ordered and compared by code point on both databases, whatever the server's locale."""

_POSITION: Final = BigInteger().with_variant(Integer(), "sqlite")

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("name_folded", _CODE_POINT_ORDER, nullable=False),
    Column("search_text", CleanText, nullable=False),
    Column("status", CleanText, nullable=False),
    Column("pending_action", CleanText),
    Column("created_at", InstantColumn, nullable=False),
    Column("started_at", InstantColumn),
    Column("completed_at", InstantColumn),
    Column("status_changed_at", InstantColumn),
    Column("progress_percent", Float, nullable=False),
    Column("current_epoch", Integer, nullable=False),
    Column("total_epochs", Integer, nullable=False),
    Column("estimated_completion", InstantColumn),
    Column("attempt", Integer, nullable=False),
    Column("dataset_id", CleanText, nullable=False),
    Column("model_id", CleanText),
    Column("best_epoch", Integer),
    Column("best_val_loss", Float),
    Column("best_val_error_median_m", Float),
    Column("last_seq", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("continued_from", CleanText),
    Column("resume_is_exact", Boolean(create_constraint=False)),
    # Operational columns: who works on it, and what a sweeper must know. Not part of the entity.
    Column("worker_id", CleanText),
    Column("worker_seen_at", InstantColumn),
    Column("lease_expires_at", InstantColumn),
    Column("losses", Integer, nullable=False, server_default="0"),
    Column("next_enqueue_at", InstantColumn),
    Column("idempotency_key", CleanText, unique=True),
    Column("fingerprint", CleanText),
    # Long texts last: SQLite reads a row from its front.
    Column("config", JsonText, nullable=False),
    Column("checkpoint", JsonText),
    Column("device", JsonText),
    Column("error_message", CleanText),
    Column("error_detail", CleanText),
    Column("notice", CleanText),
    Column("silent_since", InstantColumn),
    Index(None, "created_at", "id"),
    Index(None, "name_folded", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "dataset_id"),
)

job_changes: Final = Table(
    "job_changes",
    metadata,
    # Triggers of the migration write here and fold what they wrote, so that there are never many rows. A row says by how many the jobs of
    # a state became more or fewer, or with 0 that one changed without an event.
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("status", CleanText, nullable=False),
    Column("num_jobs", Integer, nullable=False),
)

metrics: Final = Table(
    "metrics",
    metadata,
    Column("job_id", CleanText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("timestamp", InstantColumn, nullable=False),
    Column("attempt", Integer, nullable=False),
    *(Column(name, Float) for name in VALUE_FIELDS),
    Column("non_finite", JsonText),
    # Clustered: one run's epochs lie side by side on disk.
    sqlite_with_rowid=False,
)

metric_summaries: Final = Table(
    "metric_summaries",
    metadata,
    Column("job_id", CleanText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

events: Final = Table(
    "events",
    metadata,
    # AUTOINCREMENT: a position is never used twice, even after the newest events were deleted.
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    # No foreign key: the record of a deletion outlives its job.
    Column("job_id", CleanText, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", CleanText, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("created_at", InstantColumn, nullable=False),
    UniqueConstraint("job_id", "seq"),
    sqlite_autoincrement=True,
)

logs: Final = Table(
    "logs",
    metadata,
    Column("job_id", CleanText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("timestamp", InstantColumn, nullable=False),
    Column("text", CleanText, nullable=False),
    sqlite_with_rowid=False,
)

audit: Final = Table(
    "audit",
    metadata,
    # Triggers of the migration refuse UPDATE and DELETE: lines are added and read, never changed.
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("timestamp", InstantColumn, nullable=False),
    Column("who", CleanText, nullable=False),
    Column("name", CleanText),
    Column("role", CleanText, nullable=False),
    Column("means", CleanText, nullable=False),
    Column("client", CleanText),
    Column("request_id", CleanText),
    Column("action", CleanText, nullable=False),
    Column("subject", CleanText, nullable=False),
    # No foreign key: the record of a deletion outlives what was deleted.
    Column("subject_id", CleanText),
    Column("subject_name", CleanText),
    Column("detail", JsonText, nullable=False),
    Index(None, "subject_id"),
    sqlite_autoincrement=True,
)

datasets: Final = Table(
    "datasets",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("name_folded", CleanText, nullable=False),
    Column("status", CleanText, nullable=False),
    Column("created_at", InstantColumn, nullable=False),
    Column("content_hash", CleanText),
    Column("version", Integer, nullable=False),
    Column("document", JsonText, nullable=False),
    Index(None, "content_hash"),
)

models: Final = Table(
    "models",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", InstantColumn, nullable=False),
    Column("bundle_hash", CleanText, unique=True),
    Column("summary", JsonText, nullable=False),
    Column("detail", JsonText, nullable=False),
    UniqueConstraint("name", "version"),
)

tombstones: Final = Table(
    "tombstones",
    metadata,
    Column("key", CleanText, primary_key=True),
    Column("created_at", InstantColumn, nullable=False),
)
"""Keys of artifacts whose row is gone: the second phase of a deletion."""

holds: Final = Table(
    "holds",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("expires_at", InstantColumn, nullable=False),
)
"""Who needs every file to stay for a while (a backup that copies)."""
