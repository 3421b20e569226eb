"""Backups of a coordinator's home and database: what is in them, how they are restored, and how the log goes on."""
