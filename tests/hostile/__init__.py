"""Clients that mean no good, against real server processes that are watched from outside."""
