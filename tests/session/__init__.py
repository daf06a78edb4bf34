"""One session, without a network."""
