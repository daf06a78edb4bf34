"""The ledger: the stored reactions, and everything that reads, writes, merges, audits and imports them.

Owns the scripts, and how reactions are stored. Does not depend on sessions and transports.
"""
