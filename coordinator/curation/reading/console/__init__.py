"""The pages at which films are read and adjudicated, on a listener of their own."""
