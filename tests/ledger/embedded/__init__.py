"""The embedded engine, as a process of its own."""
