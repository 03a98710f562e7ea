"""Since when a job's training process has given no sign of progress; and an audit log that cannot be emptied or written over either."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("silent_since", _INSTANT))
    if op.get_bind().dialect.name == "sqlite":
        # INSERT OR REPLACE deletes without asking the trigger for DELETE.
        op.execute(
            "CREATE TRIGGER audit_refuse_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE position = NEW.position)"
            " BEGIN SELECT RAISE(ABORT, 'the audit log can only be added to'); END"
        )
    else:
        op.execute("CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()")
