"""The ``tallycast`` command: one module a sub-command.

Owns flags, help texts and what is printed. Does not depend on how the work is done: that is in the packages
below.
"""
