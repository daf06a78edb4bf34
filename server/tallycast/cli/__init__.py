"""The ``tallycast`` command: one module a sub-command.

Owns flags, help texts and what is printed; the work is done by the packages below.
"""
