"""The command ``tallycast load``: options, reports written, exit statuses."""
