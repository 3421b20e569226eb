"""The running coordinator: its parts put together, the two gRPC ports, the supervised federation, signals."""
