"""Tests of the links to the engine: the store interface and its two implementations."""
