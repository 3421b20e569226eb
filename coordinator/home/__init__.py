"""The coordinator's home: settings, identity, and `init`, which creates a federation."""
