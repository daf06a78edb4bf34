"""Tests of the checks of an engine before it is used."""
