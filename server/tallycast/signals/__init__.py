"""The rules of each signal shape, pure.

Does not depend on asyncio, Redis or a clock.
"""
