"""The ``tallycast`` command: one module a sub-command.

Owns flags, help texts and what is printed. The work is done by the packages below.
"""
