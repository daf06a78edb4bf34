"""The engine as a Redis Cluster: nodes, slots, the sharded feed."""
