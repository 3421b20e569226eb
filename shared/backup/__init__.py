"""Backups of a home: a tar in zstd in an age file, written while the service runs, read back into an empty folder."""
