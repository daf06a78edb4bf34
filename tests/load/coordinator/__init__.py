"""Tests of ``tallycast_load.coordinator``."""
