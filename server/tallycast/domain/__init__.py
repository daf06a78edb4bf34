"""Pure rules: what an item id, a site, a reaction and a token are.

Must not import asyncio, Redis or a clock: time is an argument.
"""
