"""Pure physics on NumPy arrays. No I/O."""
