"""Distribution of new counts to the connections that watch an item.

Does not depend on transports or on the engine.
"""
