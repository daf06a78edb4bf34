"""Tests of the embedded engine, as a process of its own."""
