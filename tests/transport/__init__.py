"""The transports' registry, without a network."""
