"""The conversation with one client, on a connection of any bidirectional transport.

Does not depend on transports.
"""
