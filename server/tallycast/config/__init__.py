"""Settings and the sites file: declarations, parsing and validation.

Does not depend on what they are used for.
"""
