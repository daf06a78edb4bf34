"""One worker process: its share of the connections and reactions, and the audit of its visitors."""
