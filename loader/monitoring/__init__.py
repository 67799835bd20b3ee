"""Status, checks, incidents and metrics of loads."""
