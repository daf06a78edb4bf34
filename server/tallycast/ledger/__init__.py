"""The truth, in the engine: the scripts, the writer, the reader, the feed, the embedded engine.

Everything that knows the engine's keys, channels and formats lives here. Must not know who is connected.
"""
