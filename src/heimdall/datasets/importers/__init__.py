"""Readers of measured data: each turns source files into the one storage form and says what it left out."""
