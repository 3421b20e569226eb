"""Which editions of the protocol are accepted, and until when."""
