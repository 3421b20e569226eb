"""Alembic's scripts: one per change of the schema, run in order when the store is opened."""
