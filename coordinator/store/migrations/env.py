"""What Alembic runs, as a script, to apply migrations on the connection that `coordinator.store.sql` passes."""

from alembic import context

from coordinator.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
