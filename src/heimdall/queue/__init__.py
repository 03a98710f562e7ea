"""Adapter of the JobQueue port: Celery."""
