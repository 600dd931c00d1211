"""Measured condition: physical parameters with confidence, read off the pixels and the file."""
