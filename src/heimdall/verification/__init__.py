"""Runs untrusted networks in a limited child process."""
