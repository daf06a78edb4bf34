"""Who may do what, and how much of it: tokens, origins, rates, connection limits, revocations.

Does not depend on transports or on what is watched.
"""
