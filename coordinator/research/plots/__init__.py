"""Figures of results as PNG and SVG: they are read without colour, too."""
