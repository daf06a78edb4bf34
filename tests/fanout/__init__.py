"""Updates on their way to subscribers."""
