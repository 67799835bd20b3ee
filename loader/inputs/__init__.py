"""Read files, folders, object stores and data frames as chunks of raw events."""
