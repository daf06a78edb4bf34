"""Bulk import: reactions and starting counts from a file, in large batches.

Owns ``tallycast import`` from the bytes of the file to the summary. Does not depend on how reactions are
stored.
"""
