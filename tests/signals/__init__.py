"""Tests of the signal shapes."""
