"""Logging and measurements of this process.

Does not depend on what is measured.
"""
