"""Versions of the wire."""
