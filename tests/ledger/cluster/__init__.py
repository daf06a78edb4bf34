"""The ledger on a real cluster: the same promises, while slots move and nodes die."""
