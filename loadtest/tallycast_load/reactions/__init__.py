"""The reactions that are sent: when, how, and the ledger of what was acknowledged."""
