"""Files, folders, object stores and data frames, read as chunks of raw lines."""
