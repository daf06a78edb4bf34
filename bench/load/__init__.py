"""The load generator: a program in C, and its client in Python."""
