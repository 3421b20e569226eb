"""The verbs of `ricord-research`; each is a call of `coordinator.research`."""
