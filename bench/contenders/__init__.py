"""The servers that are measured: Tallycast, its peers, and a bare send() loop."""
