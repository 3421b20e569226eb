"""What other programs may ask of a running coordinator: whether it answers, and figures for Prometheus."""
