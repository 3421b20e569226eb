"""Pages for a researcher, over the calls that the commands make."""
