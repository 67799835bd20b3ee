"""Tests of `loader.schema`."""
