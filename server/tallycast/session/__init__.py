"""One client's conversation, independent of its transport."""
