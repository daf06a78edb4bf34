"""Access control: tokens, origins, rates, connection limits, revocations.

Does not depend on transports or on what is watched.
"""
