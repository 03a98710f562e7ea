"""Alembic's entry point: runs on the connection, and in the transaction, of ``heimdall.storage.schema``."""

from alembic import context

from heimdall.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
