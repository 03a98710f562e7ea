"""Breaks a running Heimdall in seeded ways, then proves that nothing was lost: ``python -m chaos --help``."""
