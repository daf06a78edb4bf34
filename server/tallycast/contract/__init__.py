"""The contract with clients, pure: message types, codecs, ready-made frames.

Does not depend on asyncio, Redis or a clock.
"""
