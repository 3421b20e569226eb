"""What other programs may ask of a service: whether it goes on, and figures for Prometheus."""
