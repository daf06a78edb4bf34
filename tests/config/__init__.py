"""Tests of settings and the sites file."""
