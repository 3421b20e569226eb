"""Backups of a site's home: what is in them, how one is restored, and how the restored home goes on."""
