"""Tests of server/bulk."""
