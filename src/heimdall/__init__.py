"""Heimdall trains neural networks that find radio transmitters."""

__version__ = "0.1.0"
