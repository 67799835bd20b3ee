"""The report of a period as one HTML page."""
