"""The processes of one server: supervisor, worker pool, listening socket, messages between processes."""
