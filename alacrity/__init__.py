"""Alacrity: an HTTP/1.1 reverse proxy whose servers register themselves."""

__version__ = "0.1.0"
