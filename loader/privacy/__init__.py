"""Erase people, keep data for a time only, and report where personal data lies."""
