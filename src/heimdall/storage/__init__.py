"""Adapters of the storage ports: SQLAlchemy, files, doorbell."""
