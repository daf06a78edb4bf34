"""What endpoints, sessions and transports call.

Does not depend on any transport.
"""
