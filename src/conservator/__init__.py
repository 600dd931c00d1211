"""Conservator: an agent that inspects a photo, restores no more than needed, and documents everything."""

__version__ = "0.1.0"
