"""Pure rules of sites, tokens, addresses, rates and limits.

Does not depend on asyncio, Redis or a clock: time is an argument.
"""
