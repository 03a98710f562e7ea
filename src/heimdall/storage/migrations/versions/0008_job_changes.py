"""How many jobs are in each state, kept by triggers, so that a list of any length says its totals and its ETag from a handful of rows."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Changes between two foldings: what a reader sums up at most, beside those of transactions that are open.
_FOLDED = 64

_SQLITE_CASES = {
    "added": ("INSERT ON jobs", "TRUE", "(NEW.status, 1)"),
    "removed": ("DELETE ON jobs", "TRUE", "(OLD.status, -1)"),
    "moved": ("UPDATE OF status ON jobs", "OLD.status <> NEW.status", "(OLD.status, -1), (NEW.status, 1)"),
    # Without an event, as a checkpoint: who validates the list by the events alone would not see it.
    "silent": ("UPDATE OF version ON jobs", "OLD.last_seq = NEW.last_seq AND OLD.status = NEW.status", "(NEW.status, 0)"),
}

# SKIP LOCKED: rows that another transaction folds are left to it, so that nobody waits here. A fold always leaves a row with a new number.
_POSTGRESQL = f"""
CREATE FUNCTION note_job_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO job_changes (status, num_jobs) VALUES (NEW.status, 1);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO job_changes (status, num_jobs) VALUES (OLD.status, -1);
    ELSIF OLD.status <> NEW.status THEN
        INSERT INTO job_changes (status, num_jobs) VALUES (OLD.status, -1), (NEW.status, 1);
    ELSE
        INSERT INTO job_changes (status, num_jobs) VALUES (NEW.status, 0);
    END IF;
    IF lastval() % {_FOLDED} < 2 THEN
        WITH seen AS (SELECT position FROM job_changes FOR UPDATE SKIP LOCKED),
        gone AS (DELETE FROM job_changes USING seen WHERE job_changes.position = seen.position RETURNING job_changes.status, num_jobs)
        INSERT INTO job_changes (status, num_jobs) SELECT status, sum(num_jobs) FROM gone GROUP BY status;
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "job_changes",
        sa.Column("position", _POSITION, autoincrement=True, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("num_jobs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_job_changes"),
    )
    # The old index was read for the sum of the versions alone, and every epoch wrote to it. Dropped first: this keeps writers out on
    # PostgreSQL until the rows that are counted here have their triggers.
    op.drop_index("ix_jobs_status_version", "jobs")
    op.create_index("ix_jobs_status_created_at_id", "jobs", ["status", "created_at", "id"])
    op.execute("INSERT INTO job_changes (status, num_jobs) SELECT status, count(*) FROM jobs GROUP BY status")
    if op.get_bind().dialect.name == "sqlite":
        _add_sqlite_triggers()
    else:
        _add_postgresql_triggers()


def _add_sqlite_triggers() -> None:
    for name, (act, condition, rows) in _SQLITE_CASES.items():
        op.execute(
            f"CREATE TRIGGER job_changes_{name} AFTER {act} WHEN {condition}"
            f" BEGIN INSERT INTO job_changes (status, num_jobs) VALUES {rows}; END"
        )
    op.execute(
        f"CREATE TRIGGER job_changes_folded AFTER INSERT ON job_changes WHEN NEW.position % {_FOLDED} = 0 BEGIN"
        " INSERT INTO job_changes (status, num_jobs) SELECT status, sum(num_jobs) FROM job_changes GROUP BY status;"
        " DELETE FROM job_changes WHERE position <= NEW.position; END"
    )


def _add_postgresql_triggers() -> None:
    op.execute(_POSTGRESQL)
    call = "FOR EACH ROW EXECUTE FUNCTION note_job_change()"
    op.execute(f"CREATE TRIGGER job_changes_rows AFTER INSERT OR DELETE ON jobs {call}")
    op.execute(
        "CREATE TRIGGER job_changes_states AFTER UPDATE ON jobs FOR EACH ROW"
        " WHEN (OLD.status <> NEW.status OR (OLD.version <> NEW.version AND OLD.last_seq = NEW.last_seq))"
        " EXECUTE FUNCTION note_job_change()"
    )
