"""Reading and writing reactions on a Redis Cluster."""
