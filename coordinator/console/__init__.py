"""Pages for operators and observers of a federation, over the calls that the commands make."""
