"""Data sets on disk: one memory-mapped form, importers, splits."""
