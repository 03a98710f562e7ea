"""Alembic: ``env.py`` and one file per revision. Run by ``heimdall.storage.schema``, never by hand."""
