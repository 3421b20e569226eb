"""The coordinator's home: settings, identity, and `init`, which founds a federation."""
