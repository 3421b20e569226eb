"""What other programs may ask of a running node: whether it goes on, and figures for Prometheus."""
