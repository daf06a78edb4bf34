"""Settings and the sites file: declared, read and validated here.

Does not depend on what is done with them.
"""
