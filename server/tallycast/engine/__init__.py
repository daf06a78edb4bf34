"""Access to the Redis-protocol engine: key names, scripts, publications, health, the embedded engine.

Does not depend on what reactions are.
"""
