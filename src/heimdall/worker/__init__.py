"""Celery tasks and the child process that trains."""
