"""Studies that wait for a person: listed, released, blanked or rejected; every decision is audited with its reason."""
