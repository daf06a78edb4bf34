"""What is left of a run: a table, JSON, and a page to look at.

Must not know how a run goes.
"""
