"""Counts as server-sent events, for pages that cannot open a WebSocket."""
