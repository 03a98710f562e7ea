"""The HTTP and socket border."""
