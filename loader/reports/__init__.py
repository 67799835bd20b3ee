"""Documents about the data."""
