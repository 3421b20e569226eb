"""The program says what it does: to each attribute, what leaves the hospital, and what another edition changes."""
