"""The contract with clients, pure: message types, codecs, ready-made frames.

Must not import asyncio, Redis or a clock.
"""
