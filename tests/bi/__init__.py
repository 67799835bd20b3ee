"""Tests of `loader/bi`."""
