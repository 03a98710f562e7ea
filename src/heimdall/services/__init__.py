"""Use cases; they see only ports."""
