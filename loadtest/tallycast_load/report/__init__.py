"""The reports of a run: progress, a table, JSON, an HTML page. Does not depend on how a run proceeds."""
