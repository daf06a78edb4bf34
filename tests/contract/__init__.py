"""Conformance: a client written from the contract with clients alone, and what it holds the server to."""
