"""Changes guards one by one and runs tests, to find changes that none notices: `make mutants ROOM=shared/crypto`."""
