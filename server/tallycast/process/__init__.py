"""The processes of one server: supervisor, worker pool, listening socket, messages between processes.

Does not depend on what a worker serves.
"""
