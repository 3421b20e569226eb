"""What runs in the hospital: receive, screen, de-identify, validate, seal, submit, federate."""
