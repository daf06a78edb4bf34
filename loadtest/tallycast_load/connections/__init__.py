"""The connections that watch items: WebSockets and event streams, and the pool of those of one process."""
